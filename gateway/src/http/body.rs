//! Reading a request's body within a limit of bytes and of time.

use std::time::Duration;

use actix_web::web;
use bytes::Bytes;

use super::problem::{Code, Problem};

/// Reads the whole body, at most `limit` bytes, within `wait`.
///
/// # Errors
/// 413 over the limit, 408 too slow, 400 when the connection breaks off.
pub async fn read(payload: web::Payload, limit: usize, wait: Duration) -> Result<Bytes, Problem> {
    let Ok(read) = tokio::time::timeout(wait, payload.to_bytes_limited(limit)).await else {
        return Err(Problem::new(
            Code::BodyTimeout,
            format!("the body was not complete within {wait:?}"),
        ));
    };
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(Problem::new(
            Code::BadBody,
            format!("the body could not be read: {error}"),
        )),
        Err(_) => Err(Problem::new(
            Code::BodyTooLarge,
            format!("the body has more than {limit} bytes"),
        )),
    }
}
