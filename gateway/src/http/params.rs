//! What a subscribe request asks for: channels, where to start, in which form. From the query of
//! `GET /v1/events` or the JSON body of `POST /v1/events`. A cursor that cannot be read is never an error here:
//! the stream opens and tells a reset, since a 4xx would end a browser's EventSource for good.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use sluice_wire::channel::Channel;
use sluice_wire::cursor::Cursor;

use crate::connection::StartAt;
use crate::reasons::LimitName;

use super::problem::{Code, Problem};

/// The bounds of a request.
#[derive(Clone, Copy, Debug)]
pub struct SubscribeLimits {
    /// `limits.channels_per_connection`.
    pub channels: usize,
    /// `history.max_events`: `last` is cut to it.
    pub last: u32,
}

/// A subscribe request, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscribeRequest {
    /// In the order given, each once; at least one.
    pub channels: Vec<Channel>,
    pub start: StartAt,
    /// The cursor as it came, when it can stand in an `id:` line: what a refusal echoes so that nothing erases it.
    pub incoming: Option<String>,
    /// `data` is the JSON object that names channel and position.
    pub envelope: bool,
}

/// The parameters as given, before they are understood.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    channels: Vec<String>,
    last_event_id: Option<String>,
    since: Option<String>,
    last: Option<Number>,
    envelope: Option<String>,
}

/// A number in JSON, a text in a query.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`last` is a number of events, such as 10")]
enum Number {
    Number(u64),
    Text(String),
}

impl SubscribeRequest {
    /// Understands a query such as `channel=orders&channel=user.42&last=10`. Unknown parameters are ignored, since
    /// EventSource polyfills add their own (`_=1763676000123`).
    ///
    /// # Errors
    /// 400, naming parameter and value.
    pub fn from_query(
        query: &str,
        headers: &HeaderMap,
        limits: SubscribeLimits,
        now: SystemTime,
    ) -> Result<SubscribeRequest, Problem> {
        let mut given = Given::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "channel" => given.channels.push(value),
                "last_event_id" => given.last_event_id = Some(value),
                "since" => given.since = Some(value),
                "last" => given.last = Some(Number::Text(value)),
                "envelope" => given.envelope = Some(value),
                _ => {}
            }
        }
        given.understand("channel", headers, limits, now)
    }

    /// Understands a JSON body such as `{"channels":["orders"],"since":"PT5M","envelope":"json"}`.
    ///
    /// # Errors
    /// 400, naming the member and its value; 415 for another media type than JSON.
    pub fn from_body(
        body: &[u8],
        headers: &HeaderMap,
        limits: SubscribeLimits,
        now: SystemTime,
    ) -> Result<SubscribeRequest, Problem> {
        if let Some(media_type) = headers.get(CONTENT_TYPE) {
            let text = media_type.to_str().unwrap_or_default();
            let essence = text.split(';').next().unwrap_or_default().trim();
            if !essence.eq_ignore_ascii_case("application/json") {
                let detail = "send the subscription as application/json";
                return Err(
                    Problem::new(Code::UnsupportedMediaType, detail).at("Content-Type", text)
                );
            }
        }
        let given: Given = serde_json::from_slice(body).map_err(|error| {
            Problem::new(
                Code::BadBody,
                format!("the body is not a subscription: {error}"),
            )
        })?;
        given.understand("channels", headers, limits, now)
    }
}

impl Given {
    fn understand(
        self,
        channel_parameter: &str,
        headers: &HeaderMap,
        limits: SubscribeLimits,
        now: SystemTime,
    ) -> Result<SubscribeRequest, Problem> {
        let channels = channels(channel_parameter, &self.channels, limits.channels)?;
        let envelope = match self.envelope.as_deref() {
            None | Some("") => false,
            Some("json") => true,
            Some(other) => {
                return Err(
                    Problem::new(Code::BadParameter, "the only envelope is `json`")
                        .at("envelope", other),
                );
            }
        };
        let header = headers
            .get("Last-Event-ID")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let cursor = header
            .filter(|text| !text.is_empty())
            .or(self.last_event_id)
            .filter(|text| !text.is_empty());
        // Only what applies is read: a reconnecting EventSource repeats its first URL, and a `last` or `since` that
        // has become wrong since must not end it.
        let start = match (&cursor, &self.since, &self.last) {
            (Some(text), _, _) => Cursor::parse(text).map_or(StartAt::Unreadable, StartAt::Cursor),
            (None, Some(text), _) => StartAt::Since(since(text, now)?),
            (None, None, Some(number)) => last(number, limits.last)?,
            (None, None, None) => StartAt::Live,
        };
        Ok(SubscribeRequest {
            channels,
            start,
            incoming: cursor.filter(|text| fits_id_line(text)),
            envelope,
        })
    }
}

fn fits_id_line(text: &str) -> bool {
    text.len() <= Cursor::MAX_TEXT_BYTES && !text.contains(char::is_control)
}

/// Parses the names, each once, reserved ones refused.
fn channels(parameter: &str, names: &[String], limit: usize) -> Result<Vec<Channel>, Problem> {
    let mut channels: Vec<Channel> = Vec::with_capacity(names.len().min(limit));
    for name in names {
        let channel = channel(parameter, name)?;
        if channels.contains(&channel) {
            continue;
        }
        if channels.len() == limit {
            let detail =
                format!("a stream has at most {limit} channels; open another one for the rest");
            return Err(Problem::new(Code::TooManyChannels, detail)
                .at(parameter, name)
                .of_limit(LimitName::ChannelsPerConnection));
        }
        channels.push(channel);
    }
    if channels.is_empty() {
        let detail =
            "name at least one channel, for example ?channel=orders or {\"channels\":[\"orders\"]}";
        return Err(Problem::new(Code::NoChannel, detail).at(parameter, ""));
    }
    Ok(channels)
}

/// Parses one channel's name as a caller from outside may use it; for path and query alike.
///
/// # Errors
/// 400 for a name outside the grammar, and for one of Sluice's own (`_…`).
pub fn channel(parameter: &str, name: &str) -> Result<Channel, Problem> {
    let channel = Channel::parse(name)
        .map_err(|error| Problem::new(Code::BadChannel, error.to_string()).at(parameter, name))?;
    if channel.is_reserved() {
        let detail = "names that begin with `_` are Sluice's own";
        return Err(Problem::new(Code::ReservedChannel, detail).at(parameter, name));
    }
    Ok(channel)
}

/// Events of a page, or of a poll's answer, when the request names no `limit`.
pub const LIMIT_DEFAULT: u32 = 100;
/// The largest `limit`.
pub const LIMIT_MOST: u32 = 1_000;

/// Understands `limit`, the most events of one answer.
///
/// # Errors
/// 400, naming parameter and value.
pub fn limit(text: &str) -> Result<u32, Problem> {
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=LIMIT_MOST).contains(limit))
        .ok_or_else(|| {
            let detail = format!("`limit` is a number of events from 1 to {LIMIT_MOST}");
            Problem::new(Code::BadParameter, detail).at("limit", text)
        })
}

fn last(number: &Number, limit: u32) -> Result<StartAt, Problem> {
    let count = match number {
        Number::Number(count) => *count,
        Number::Text(text) => text.parse().map_err(|_| {
            Problem::new(
                Code::BadParameter,
                "`last` is a number of events, such as 10",
            )
            .at("last", text)
        })?,
    };
    match u32::try_from(count).unwrap_or(u32::MAX).min(limit) {
        0 => Ok(StartAt::Live),
        count => Ok(StartAt::Last(count)),
    }
}

/// A time in Unix milliseconds: a duration before `now` (ISO 8601 `PT5M`, or `5m`) or an RFC 3339 timestamp.
pub(super) fn since(text: &str, now: SystemTime) -> Result<u64, Problem> {
    let ago = iso_duration(text).or_else(|| humantime::parse_duration(text).ok());
    let time = match ago {
        Some(ago) => Some(now.checked_sub(ago).unwrap_or(UNIX_EPOCH)),
        None => timestamp(text),
    };
    let ms = time.map(|time| {
        time.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis()
    });
    ms.and_then(|ms| u64::try_from(ms).ok()).ok_or_else(|| {
        let detail = "`since` is a duration (PT5M or 5m) or a timestamp (2025-11-20T22:00:00Z)";
        Problem::new(Code::BadParameter, detail).at("since", text)
    })
}

/// An ISO 8601 duration of weeks, days, hours, minutes and seconds. Years and months have no fixed length.
fn iso_duration(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (rest, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let days = components(date, &[('W', 604_800.0), ('D', 86_400.0)])?;
    let seconds = components(time, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)])?;
    Duration::try_from_secs_f64(days + seconds).ok()
}

/// The sum in seconds of components such as `1H30M`, each unit at most once and in order.
fn components(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut seconds = 0.0;
    let mut units = units.iter();
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(end);
        let unit = rest.chars().next()?;
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        text = rest.get(unit.len_utf8()..)?;
    }
    Some(seconds)
}

/// RFC 3339 with `Z` or an offset. In a query a bare `+` reads as a space, so a space counts as `+` there.
fn timestamp(text: &str) -> Option<SystemTime> {
    let year = text.get(..4)?;
    if year.bytes().all(|byte| byte.is_ascii_digit()) && year < "1970" {
        // Nothing is that old: from the beginning. The parser knows no such years, but one of the same length.
        let year: u32 = year.parse().ok()?;
        let is_leap =
            year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        let like = if is_leap { 1972 } else { 1971 };
        return modern_timestamp(&format!("{like}{}", text.get(4..)?)).map(|_| UNIX_EPOCH);
    }
    modern_timestamp(text)
}

fn modern_timestamp(text: &str) -> Option<SystemTime> {
    if let Ok(time) = humantime::parse_rfc3339(text) {
        return Some(time);
    }
    let at = text.len().checked_sub("+00:00".len())?;
    let (local, offset) = (text.get(..at)?, text.get(at..)?);
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    if !(hours.len() == 2 && minutes.len() == 2) {
        return None;
    }
    let (hours, minutes) = (hours.parse::<u64>().ok()?, minutes.parse::<u64>().ok()?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset_by = Duration::from_secs(hours * 3600 + minutes * 60);
    match offset.as_bytes().first()? {
        b'+' | b' ' => local.checked_sub(offset_by),
        b'-' => local.checked_add(offset_by),
        _ => None,
    }
}

#[cfg(test)]
#[path = "params_tests.rs"]
mod tests;
