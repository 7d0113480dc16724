//! Reading a request's body within a limit of bytes and of time.

use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, HeaderMap};
use actix_web::web;
use bytes::Bytes;

use super::problem::{Code, Problem};
use crate::reasons::LimitName;

/// Refuses a body that is compressed or otherwise encoded: it is taken as it is.
///
/// # Errors
/// 415 for any other `Content-Encoding` than `identity`.
pub fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let is_plain = |coding: &str| coding.is_empty() || coding.eq_ignore_ascii_case("identity");
        if !text.split(',').map(str::trim).all(is_plain) {
            let detail =
                "send the body as it is: no other Content-Encoding than `identity` is accepted";
            return Err(
                Problem::new(Code::UnsupportedMediaType, detail).at("Content-Encoding", &text)
            );
        }
    }
    Ok(())
}

/// Reads the whole body, at most `limit` bytes, within `wait`.
///
/// # Errors
/// 413 over the limit, 408 too slow, 400 when the connection breaks off.
pub async fn read(payload: web::Payload, limit: usize, wait: Duration) -> Result<Bytes, Problem> {
    let Ok(read) = tokio::time::timeout(wait, payload.to_bytes_limited(limit)).await else {
        return Err(Problem::new(
            Code::BodyTimeout,
            format!("the body was not complete within {wait:?}"),
        )
        .of_limit(LimitName::BodyTime));
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
        )
        .of_limit(LimitName::BodyBytes)),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest as _;
    use actix_web::dev::Payload;
    use actix_web::error::PayloadError;
    use actix_web::test::TestRequest;
    use futures_util::stream::{self, Stream, StreamExt as _};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    async fn read_stream(
        body: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
        wait: Duration,
    ) -> Result<Bytes, Problem> {
        let request = TestRequest::default().to_http_request();
        let mut payload = Payload::Stream {
            payload: body.boxed_local(),
        };
        let payload = web::Payload::from_request(&request, &mut payload);
        read(payload.await.expect("always given"), 4, wait).await
    }

    fn pieces(texts: &[&'static str]) -> impl Stream<Item = Result<Bytes, PayloadError>> + use<> {
        let pieces: Vec<_> = texts
            .iter()
            .map(|text| Ok(Bytes::from_static(text.as_bytes())))
            .collect();
        stream::iter(pieces)
    }

    #[actix_web::test]
    async fn a_body_is_read_up_to_its_limit() {
        let whole = read_stream(pieces(&["ab", "cd"]), LONG)
            .await
            .expect("fits");
        assert_eq!(whole, "abcd");
        let problem = read_stream(pieces(&["ab", "cde"]), LONG)
            .await
            .expect_err("over");
        assert_eq!(problem.code(), Code::BodyTooLarge);
    }

    #[actix_web::test]
    async fn a_body_that_never_ends_or_breaks_off_is_refused() {
        let endless = pieces(&["ab"]).chain(stream::pending());
        let problem = read_stream(endless, Duration::from_millis(1))
            .await
            .expect_err("slow");
        assert_eq!(problem.code(), Code::BodyTimeout);
        let broken = pieces(&["ab"]).chain(stream::iter([Err(PayloadError::Incomplete(None))]));
        let problem = read_stream(broken, LONG).await.expect_err("broken");
        assert_eq!(problem.code(), Code::BadBody);
    }
}
