//! When a certificate is valid, read out of its DER (RFC 5280, section 4.1): the one thing that rustls knows and does not
//! tell. Anything unexpected is no certificate.

use crate::der::{Der, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME};

/// Unix seconds, both ends included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

const VERSION: u8 = 0xa0;

/// Reads the validity of a certificate.
pub fn read(certificate: &[u8]) -> Option<Validity> {
    let mut outer = Der::new(certificate);
    let mut certificate = Der::new(outer.take(SEQUENCE)?);
    let mut fields = Der::new(certificate.take(SEQUENCE)?);
    if fields.tag() == Some(VERSION) {
        fields.take(VERSION)?;
    }
    fields.take(INTEGER)?; // serial number
    fields.take(SEQUENCE)?; // signature algorithm
    fields.take(SEQUENCE)?; // issuer
    let mut validity = Der::new(fields.take(SEQUENCE)?);
    Some(Validity {
        not_before: time(&mut validity)?,
        not_after: time(&mut validity)?,
    })
}

/// A time: `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, section 4.1.2.5).
fn time(der: &mut Der<'_>) -> Option<i64> {
    let tag = der.tag()?;
    let text = der.take(tag)?.strip_suffix(b"Z")?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = number(text, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => number(text, 4)?,
        _ => return None,
    };
    let (month, rest) = number(rest, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    (is_date && rest.is_empty())
        .then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// Days since 1970-01-01 in the Gregorian calendar; years begin in March, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // The first of March of the year 0 is 719,468 days before 1970.
    year * 365 + leaps + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::epoch(1970, 1, 1, 0)]
    #[case::leap_day(2000, 2, 29, 11_016)]
    #[case::after_it(2000, 3, 1, 11_017)]
    #[case::no_leap_year(2100, 3, 1, 47_541)]
    #[case::last_with_four_digits(9999, 12, 31, 2_932_896)]
    fn days_are_those_of_the_calendar(
        #[case] year: i64,
        #[case] month: i64,
        #[case] day: i64,
        #[case] count: i64,
    ) {
        assert_eq!(days(year, month, day), count);
    }

    #[rstest]
    #[case(b"\x17\x0d491231235959Z", 2_524_607_999)]
    #[case(b"\x17\x0d500101000000Z", -631_152_000)]
    #[case(b"\x18\x0f20500101000000Z", 2_524_608_000)]
    fn both_forms_of_a_time_are_read(#[case] der: &[u8], #[case] seconds: i64) {
        assert_eq!(time(&mut Der::new(der)), Some(seconds));
    }

    /// Whatever a file holds, reading it ends, and only a certificate has a validity.
    #[test]
    fn a_cut_or_broken_certificate_has_none() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let whole = params.self_signed(&key).expect("a certificate");
        let whole = whole.der().as_ref();
        assert!(read(whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "cut after {end} bytes");
        }
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = whole.to_vec();
                broken[at] ^= flip;
                // Most of these cannot be told from a good one; none of them may panic or hang.
                std::hint::black_box(read(&broken));
            }
        }
    }
}
