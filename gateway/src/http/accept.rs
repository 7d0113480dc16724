//! Which shape of a stream a request accepts (RFC 9110, 12.5.1): the more
//! specific range counts, then its weight; of equals an event stream.

use actix_web::http::header::{self, HeaderMap};

/// The most that a range weighs: `q=1`, in thousandths.
const FULL_WEIGHT: u16 = 1_000;

/// The media types in which a stream is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    EventStream,
    Ndjson,
}

impl MediaType {
    fn as_str(self) -> &'static str {
        match self {
            MediaType::EventStream => "text/event-stream",
            MediaType::Ndjson => "application/x-ndjson",
        }
    }

    /// How much a caller of these ranges wants it; 0 is not at all.
    fn weight(self, ranges: &[Range]) -> u16 {
        let closest = ranges
            .iter()
            .filter_map(|range| Some((range.closeness(self.as_str())?, range.weight)));
        closest.max().map_or(0, |(_, weight)| weight)
    }
}

/// The media type that the request wants most; `None` when it accepts neither.
#[must_use]
pub fn preferred(headers: &HeaderMap) -> Option<MediaType> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Some(MediaType::EventStream);
    }
    let events = MediaType::EventStream.weight(&ranges);
    let lines = MediaType::Ndjson.weight(&ranges);
    match (events, lines) {
        (0, 0) => None,
        (events, lines) if events >= lines => Some(MediaType::EventStream),
        (_, _) => Some(MediaType::Ndjson),
    }
}

/// Whether the caller takes `text/event-stream` and no other media type, as `EventSource` does.
#[must_use]
pub fn is_event_source(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers);
    let mut accepted = ranges.iter().filter(|range| range.weight > 0).peekable();
    accepted.peek().is_some() && accepted.all(|range| range.name == MediaType::EventStream.as_str())
}

/// One media range with its weight in thousandths.
struct Range {
    name: String,
    weight: u16,
}

impl Range {
    fn parse(text: &str) -> Range {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| weight(value))
        });
        Range {
            name,
            weight: weight.unwrap_or(FULL_WEIGHT),
        }
    }

    /// How closely the range names the media type; `None` when it does not.
    fn closeness(&self, media_type: &str) -> Option<u8> {
        if self.name == media_type {
            return Some(2);
        }
        if self.name == "*/*" {
            return Some(0);
        }
        let family = self.name.strip_suffix('*')?;
        (family.ends_with('/') && media_type.starts_with(family)).then_some(1)
    }
}

/// A `qvalue` in thousandths. One that cannot be read weighs in full: the caller named the range.
fn weight(text: &str) -> u16 {
    let text = text.trim();
    match text.split_once('.').unwrap_or((text, "")) {
        ("0", digits) if digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{digits:0<3}").parse().unwrap_or(FULL_WEIGHT)
        }
        (_, _) => FULL_WEIGHT,
    }
}

fn ranges(headers: &HeaderMap) -> Vec<Range> {
    headers
        .get_all(header::ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(Range::parse)
        .filter(|range| !range.name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ACCEPT, HeaderValue};
    use rstest::rstest;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        headers
    }

    const EVENTS: Option<MediaType> = Some(MediaType::EventStream);
    const LINES: Option<MediaType> = Some(MediaType::Ndjson);

    #[rstest]
    #[case::nothing_said(&[], EVENTS)]
    #[case::empty(&[""], EVENTS)]
    #[case::anything(&["*/*"], EVENTS)]
    #[case::ndjson(&["application/x-ndjson"], LINES)]
    #[case::capitals(&["Application/X-NDJSON"], LINES)]
    #[case::parameters(&["application/x-ndjson; charset=utf-8"], LINES)]
    #[case::family(&["application/*"], LINES)]
    #[case::other_family(&["text/*"], EVENTS)]
    #[case::tie(&["application/x-ndjson, text/event-stream"], EVENTS)]
    #[case::tie_below_one(&["application/x-ndjson;q=0.5, text/event-stream;q=0.500"], EVENTS)]
    #[case::heavier(&["text/event-stream;q=0.8, application/x-ndjson;q=0.9"], LINES)]
    #[case::a_thousandth(&["text/event-stream;q=0.998, application/x-ndjson;q=0.999"], LINES)]
    #[case::named_beats_any(&["*/*, text/event-stream;q=0.1"], LINES)]
    #[case::named_beats_family(&["application/*;q=0.9, application/x-ndjson;q=0.1, text/*;q=0.2"], EVENTS)]
    #[case::several_fields(&["text/event-stream;q=0.5", "application/x-ndjson"], LINES)]
    #[case::fallback(&["application/x-ndjson, */*;q=0.1"], LINES)]
    #[case::fallback_only(&["application/json, */*;q=0.1"], EVENTS)]
    #[case::spaces(&["text/event-stream ; Q = 0.2 ,application/x-ndjson"], LINES)]
    #[case::unreadable_weight(&["text/event-stream;q=high, application/x-ndjson;q=0.9"], EVENTS)]
    #[case::refused(&["text/event-stream;q=0, application/x-ndjson;q=0.0"], None)]
    #[case::refused_by_name(&["*/*, text/event-stream;q=0"], LINES)]
    #[case::other(&["application/json"], None)]
    #[case::no_range(&["text"], None)]
    fn the_heavier_of_the_closest_ranges_is_preferred(
        #[case] accept: &[&'static str],
        #[case] wanted: Option<MediaType>,
    ) {
        assert_eq!(preferred(&headers(accept)), wanted);
    }

    #[rstest]
    #[case(&["text/event-stream"], true)]
    #[case(&["text/event-stream;q=0.5, */*;q=0"], true)]
    #[case(&[], false)]
    #[case(&["*/*"], false)]
    #[case(&["text/event-stream, */*"], false)]
    #[case(&["application/x-ndjson"], false)]
    #[case(&["text/event-stream;q=0"], false)]
    fn an_event_source_accepts_nothing_else(#[case] accept: &[&'static str], #[case] is: bool) {
        assert_eq!(is_event_source(&headers(accept)), is);
    }
}
