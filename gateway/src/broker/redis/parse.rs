//! Redis's replies as the values of the core. What cannot be read is refused,
//! never guessed.

use bytes::Bytes;
use redis::Value;
use sluice_wire::event::Event;
use sluice_wire::keys::Head;
use sluice_wire::position::{Position, StreamId};

use super::data::DataError;

/// The head key's value; the outer `None` is a reply that makes no sense.
pub(super) fn head(value: &Value) -> Option<Option<Position>> {
    if let Value::BulkString(text) = value {
        return Head::parse(text).ok().map(|head| Some(head.position));
    }
    matches!(value, Value::Nil).then_some(None)
}

/// Stream entries up to the first one that Sluice has not written: a chain
/// ends there, and whoever needs it whole will find it broken.
pub(super) fn entries(value: Value) -> Option<Vec<Event>> {
    let Value::Array(entries) = value else {
        return None;
    };
    Some(entries.into_iter().map_while(entry).collect())
}

fn entry(value: Value) -> Option<Event> {
    let Value::Array(parts) = value else {
        return None;
    };
    let Ok([Value::BulkString(id), Value::Array(fields)]) = <[Value; 2]>::try_from(parts) else {
        return None;
    };
    let id: StreamId = std::str::from_utf8(&id).ok()?.parse().ok()?;
    let mut texts = fields.into_iter().map(text);
    let mut pairs: Vec<(Vec<u8>, Bytes)> = Vec::new();
    while let Some(name) = texts.next() {
        pairs.push((name?, texts.next()??.into()));
    }
    let event = Event::from_stream(id, pairs);
    if let Err(error) = &event {
        tracing::warn!(%id, %error, "a stream entry was not written by Sluice's script");
    }
    event.ok()
}

/// The reply to TIME in Unix milliseconds.
pub(super) fn time(value: Value) -> Result<u64, DataError> {
    let (seconds, micros): (u64, u64) =
        redis::from_redis_value(value).map_err(|_| DataError::Reply("TIME"))?;
    Ok(seconds * 1_000 + micros / 1_000)
}

/// A text, as every client library would call it.
pub(super) fn text(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(text) = value {
        Some(text)
    } else {
        None
    }
}
