//! How a body without a length ends for an HTTP/1.0 client, which knows no chunks (RFC 9112, 6.1): with its connection.
//! The HTTP/1.0 in which nginx asks unless told otherwise is one.

use actix_web::Error;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, Version};
use actix_web::middleware::Next;

/// Middleware for the public listener: `App::new().wrap(from_fn(framing::layer))`.
///
/// # Errors
/// Those of the routes behind it.
pub async fn layer<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let old = request.version() < Version::HTTP_11;
    let mut response = next.call(request).await?;
    if old && response.response().body().size() == BodySize::Stream {
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
