//! One look at the issuer's URL: no redirect, no proxy, no more time or bytes than allowed.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use crate::reasons::JwksOutcome;

/// Where keys come from, and the bounds of a look.
pub(super) struct Fetch {
    pub url: Url,
    /// For all of a look.
    pub timeout: Duration,
    pub most_bytes: usize,
    /// Made at the first look: reading the system's certificates takes a while, and may fail.
    pub client: Option<Client>,
}

/// Why a look brought nothing.
#[derive(Debug)]
pub(super) struct Failure {
    pub outcome: JwksOutcome,
    pub why: String,
}

impl Failure {
    pub(super) fn new(outcome: JwksOutcome, why: impl Into<String>) -> Failure {
        Failure {
            outcome,
            why: why.into(),
        }
    }
}

impl Fetch {
    /// Gets the document.
    ///
    /// # Errors
    /// [`Failure`], which holds nothing of the document.
    pub(super) async fn get(&mut self) -> Result<Vec<u8>, Failure> {
        let client = self.client()?;
        // The client's own bound of time restarts for nobody: it is for the whole of the exchange.
        match tokio::time::timeout(self.timeout, self.body(&client)).await {
            Ok(body) => body,
            Err(_) => Err(self.too_slow()),
        }
    }

    async fn body(&self, client: &Client) -> Result<Vec<u8>, Failure> {
        let answer = client.get(self.url.clone()).send().await;
        let mut answer = answer.map_err(|error| self.failed(&error))?;
        let status = answer.status();
        if status.is_redirection() {
            let why = format!("it answered {status}, and redirects are not followed");
            return Err(Failure::new(JwksOutcome::BadStatus, why));
        }
        if status != StatusCode::OK {
            let why = format!("it answered {status}");
            return Err(Failure::new(JwksOutcome::BadStatus, why));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(&error))? {
            if body.len() + chunk.len() > self.most_bytes {
                let why = format!(
                    "its answer is larger than auth.jwt.jwks_bytes ({} bytes)",
                    self.most_bytes
                );
                return Err(Failure::new(JwksOutcome::TooLarge, why));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn client(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        // Only the first of a process counts, and it is the same each time.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = Client::builder()
            .user_agent(concat!("sluice-gateway/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            // Settings come from the configuration, not from `http_proxy`.
            .no_proxy()
            .http1_only()
            .timeout(self.timeout)
            .pool_max_idle_per_host(0)
            .tls_built_in_root_certs(self.url.scheme() == "https")
            .build()
            .map_err(|error| {
                let why = format!("no HTTP client can be made: {}", cause(&error));
                Failure::new(JwksOutcome::Unreachable, why)
            })?;
        self.client = Some(client.clone());
        Ok(client)
    }

    fn failed(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return self.too_slow();
        }
        Failure::new(JwksOutcome::Unreachable, cause(error))
    }

    fn too_slow(&self) -> Failure {
        let why = format!("no whole answer within {:?}", self.timeout);
        Failure::new(JwksOutcome::Timeout, why)
    }
}

/// What lies at the bottom of an error, without the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
