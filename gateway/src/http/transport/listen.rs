//! A listener: actix's server and its HTTP, over connections of our own.
//!
//! actix-web's own `HttpServer` offers no place before the first request: a silent socket stays for ever, TLS handshakes
//! of strangers hold up everybody's, and HTTP/2 has no limits.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use actix_http::body::MessageBody;
use actix_http::{HttpService, Request, Response};
use actix_server::ServerBuilder;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, boxed, fn_service,
    map_config,
};
use actix_web::Error;
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;

use super::{Socket, Transport};
use crate::http::peer;

/// How long a connection that is being closed is waited for.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Adds a listener under a name of its own that serves `app`, made once for each worker.
///
/// # Errors
/// A listener that cannot be prepared.
pub fn listen<F, I, S, B>(
    builder: ServerBuilder,
    (name, listener): (&str, TcpListener),
    transport: Transport,
    app: F,
) -> io::Result<ServerBuilder>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let address = listener.local_addr()?;
    let shutdown = builder.graceful_shutdown_signal();
    builder.listen(name, listener, move || {
        let app = app()
            .into_factory()
            .map_err(|error| error.into().error_response());
        let shutdown = shutdown.clone();
        let http = HttpService::<Socket, _, _>::build()
            // Without it an idle HTTP/1.1 connection holds up the server's stop.
            .graceful_shutdown_signal(move || {
                let signal = shutdown.clone();
                async move { signal.notified().await }
            })
            .keep_alive(transport.keep_alive)
            // The socket keeps this time itself: it counts whom it ends.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(CLOSE_WAIT)
            // A client that has closed its half is gone; otherwise nobody notices before the next event.
            .h1_allow_half_closed(false)
            .local_addr(address)
            .on_connect_ext(|socket: &Socket, data| peer::accept(socket, data))
            .finish(map_config(app, |()| AppConfig::default()));
        let transport = Rc::new(transport.clone());
        let connections =
            fn_service(move |socket: TcpStream| Rc::clone(&transport).open(socket)).and_then(http);
        // actix-server's task of a connection has room for its future twice. Boxed, that is twice a pointer.
        boxed::factory(connections)
    })
}
