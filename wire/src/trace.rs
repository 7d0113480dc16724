//! `traceparent` of W3C Trace Context, section 3.2: which trace an event or a request belongs to, and which span caused it.
//! What is not valid is no reason to refuse anything: the trace begins anew.

use std::fmt;

use serde::{Serialize, Serializer};

/// Characters of a version-00 `traceparent`, and of the part of later ones that is known.
const KNOWN: usize = 55;
/// The one flag that every version has: the trace is recorded.
const SAMPLED: u8 = 1;

/// A trace, the span in it that caused what carries this, and the flags.
#[derive(Clone, Copy, Eq, PartialEq, Debug)]
pub struct TraceContext {
    // Bytes, since every open stream may keep one: numbers would double it.
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

/// The name of a trace: 32 hexadecimal digits.
#[derive(Clone, Copy, Eq, PartialEq, Debug)]
pub struct TraceId(u128);

/// The name of a span within its trace: 16 hexadecimal digits.
#[derive(Clone, Copy, Eq, PartialEq, Debug)]
pub struct SpanId(u64);

impl TraceContext {
    /// Reads a header's or a field's value. Ids of zeros and the version `ff` are invalid; of a later version than 00 only
    /// what 00 has is taken, and it is written as 00.
    #[must_use]
    pub fn parse(text: &str) -> Option<TraceContext> {
        let (known, rest) = text.split_at_checked(KNOWN)?;
        let mut fields = known.split('-');
        let mut field = |width: usize| {
            let digits = fields.next().filter(|digits| digits.len() == width)?;
            let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            digits
                .bytes()
                .all(is_hex)
                .then(|| u128::from_str_radix(digits, 16).ok())
                .flatten()
        };
        let (version, trace_id, span_id, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        if fields.next().is_some() || trace_id == 0 || span_id == 0 {
            return None;
        }
        let flags = u8::try_from(flags).ok()?;
        let flags = match version {
            0 if rest.is_empty() => flags,
            1..0xff if rest.is_empty() || rest.starts_with('-') => flags & SAMPLED,
            _ => return None,
        };
        Some(TraceContext {
            trace_id: trace_id.to_be_bytes(),
            span_id: u64::try_from(span_id).ok()?.to_be_bytes(),
            flags,
        })
    }

    /// The trace.
    #[must_use]
    pub const fn trace_id(self) -> TraceId {
        TraceId(u128::from_be_bytes(self.trace_id))
    }

    /// The span that caused it.
    #[must_use]
    pub const fn span_id(self) -> SpanId {
        SpanId(u64::from_be_bytes(self.span_id))
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, span_id) = (self.trace_id(), self.span_id());
        write!(f, "00-{trace_id}-{span_id}-{:02x}", self.flags)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_one_is_read_and_written_as_it_was() {
        let context = TraceContext::parse(GOOD).expect("valid");
        assert_eq!(context.to_string(), GOOD);
        assert_eq!(
            context.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
        let small = "00-00000000000000000000000000000001-0000000000000001-02";
        let again = TraceContext::parse(small).map(|context| context.to_string());
        assert_eq!(again.as_deref(), Some(small));
        assert_eq!(
            serde_json::to_string(&context).expect("JSON"),
            format!("\"{GOOD}\"")
        );
    }

    /// The parts that follow in later versions are for those who know them.
    #[test]
    fn of_a_later_version_what_00_has_is_taken() {
        let rest = &GOOD[2..];
        for later in [
            format!("01{rest}"),
            format!("fe{rest}-what-the-future-will-be-like"),
            format!("cc{}ff", &rest[..rest.len() - 2]),
        ] {
            let context = TraceContext::parse(&later).expect("valid");
            assert_eq!(context.to_string(), GOOD, "{later}");
        }
    }

    #[test]
    fn what_is_not_valid_is_none() {
        let rest = &GOOD[2..];
        for bad in [
            String::new(),
            "zz".to_owned(),
            format!("ff{rest}"),
            format!("{GOOD}-00"),
            format!("{GOOD}0"),
            format!("01{rest}0"),
            format!("{GOOD} "),
            GOOD[..54].to_owned(),
            GOOD.to_uppercase(),
            GOOD.replace('-', "_"),
            GOOD.replace("00-0af", "00-+af"),
            GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01".to_owned(),
            format!("{}é", &GOOD[..54]),
        ] {
            assert_eq!(TraceContext::parse(&bad), None, "{bad}");
        }
    }
}
