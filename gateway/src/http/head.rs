//! The end of a request's head: its limit, on target and header fields, is the same for HTTP/1.1 and HTTP/2, and its
//! connection hears that it has come.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _, web};

use super::peer::Call;
use super::problem::{Code, Problem};
use super::routes::Public;
use crate::reasons::LimitName;

/// What stands around a field on the wire of HTTP/1.1: `: ` and the line's end.
const AROUND_FIELD: usize = 4;

/// The largest head, as application data.
#[derive(Clone, Copy, Debug)]
pub struct HeadBytes(pub usize);

/// Middleware for both listeners, the outermost: `App::new().wrap(from_fn(head::layer))`, with [`HeadBytes`] as data.
///
/// # Errors
/// Those of the routes behind it; a head that is too large is answered with 431 (RFC 6585, section 5).
pub async fn layer(
    limit: web::Data<HeadBytes>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let _call = Call::begin(&request);
    let head = request.head();
    let target = head
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let limit = limit.get_ref().0;
    if target + fields(&head.headers) <= limit {
        return next.call(request).await;
    }
    let problem = Problem::new(
        Code::HeadTooLarge,
        format!(
            "target and header fields are over {limit} bytes; send channels and a long cursor in the body of POST /v1/events, \
             and fewer cookies"
        ),
    );
    if let Some(public) = request.app_data::<web::Data<Public>>() {
        let hits = &public.limit_metrics.hits;
        hits.of(LimitName::HeadBytes).inc();
    }
    let problem = problem.of_limit(LimitName::HeadBytes);
    Ok(request.into_response(problem.error_response()))
}

fn fields(headers: &HeaderMap) -> usize {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + AROUND_FIELD);
    sizes.sum()
}
