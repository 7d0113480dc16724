//! Where an HTTP/1 message begins and ends: a `Host` that is one (RFC 9112, 3.2), request bodies that nobody reads to
//! their end, and bodies without a length for HTTP/1.0 clients, which know no chunks (6.1) and are told by the
//! connection's end. The HTTP/1.0 in which nginx asks unless told otherwise is one of these.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use actix_web::http::uri::Authority;
use actix_web::http::{ConnectionType, Version};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, ResponseError as _};
use bytes::Bytes;
use futures_util::{Stream as _, StreamExt as _, stream};

use super::problem::{Code, Problem};

/// Middleware for the public listener: `App::new().wrap(from_fn(framing::layer))`.
///
/// # Errors
/// Those of the routes behind it.
pub async fn layer(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    if let Some(host) = request.headers().get(HOST).filter(|host| !is_host(host)) {
        let shown = String::from_utf8_lossy(host.as_bytes()).into_owned();
        let detail = "the header is a host with or without a port, such as example.com:8080";
        let problem = Problem::new(Code::BadParameter, detail).at("Host", &shown);
        let response = problem.error_response();
        return Ok(request.into_response(response));
    }
    let old = request.version() < Version::HTTP_11;
    let unread = hold_chunks(&mut request);
    let mut response = next.call(request).await?;
    if old && response.response().body().size() == BodySize::Stream {
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(match unread {
        None => response,
        Some(unread) => response.map_body(|_, body| {
            BoxBody::new(Held {
                body,
                _unread: unread,
            })
        }),
    })
}

fn is_host(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| {
        text.is_empty() || (!text.contains('@') && text.parse::<Authority>().is_ok())
    })
}

/// A request's body, read by its route and kept by the response.
type Unread = Rc<RefCell<Payload>>;

/// A chunked body that is let go unread keeps its connection: actix-web reads on to its last chunk, for as long as the
/// client likes to send. Kept until the response is out, it ends the connection instead, as one with a length does.
fn hold_chunks(request: &mut ServiceRequest) -> Option<Unread> {
    if !request.headers().contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let unread = Rc::new(RefCell::new(request.take_payload()));
    let read = Rc::clone(&unread);
    let chunks = stream::poll_fn(move |cx| Pin::new(&mut *read.borrow_mut()).poll_next(cx));
    request.set_payload(Payload::Stream {
        payload: chunks.boxed_local(),
    });
    Some(unread)
}

/// A response's body with the request's that it must outlive.
struct Held {
    body: BoxBody,
    _unread: Unread,
}

impl MessageBody for Held {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a", true)]
    #[case("a.example:8080", true)]
    #[case("[::1]:8080", true)]
    #[case("127.0.0.1", true)]
    #[case("", true)]
    #[case("a b", false)]
    #[case("a, b", false)]
    #[case("a/b", false)]
    #[case("a?b", false)]
    #[case("user@a", false)]
    #[case("a:b:c", false)]
    fn a_host_is_one_host(#[case] text: &'static str, #[case] is: bool) {
        assert_eq!(is_host(&HeaderValue::from_static(text)), is);
    }
}
