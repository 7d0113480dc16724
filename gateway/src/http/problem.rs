//! Every refusal over HTTP as an `application/problem+json` object (RFC 9457) with a stable `code`.
//! The code is what programs compare; title and detail are for people and may be reworded.

use std::fmt;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Serialize;
use sluice_wire::publish::Refusal;

use super::hide;
use super::request_id::RequestId;
use super::told::Refused;
use crate::reasons::LimitName;

/// Longest quote of a caller's own value in an answer, in characters.
const QUOTE_CHARS: usize = 128;

/// Defines the codes with their status and title.
macro_rules! codes {
    ($($variant:ident = $text:literal, $status:ident, $title:literal;)+) => {
        /// What went wrong, as a stable code with one status each.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Code { $($variant),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text),+ }
            }

            /// The HTTP status.
            pub const fn status(self) -> StatusCode {
                match self { $(Code::$variant => StatusCode::$status),+ }
            }

            const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title),+ }
            }
        }
    };
}

codes! {
    BadChannel = "bad_channel", BAD_REQUEST, "Not a channel name";
    ReservedChannel = "reserved_channel", BAD_REQUEST, "The channel is reserved";
    NoChannel = "no_channel", BAD_REQUEST, "No channel is named";
    TooManyChannels = "too_many_channels", BAD_REQUEST, "Too many channels";
    BadParameter = "bad_parameter", BAD_REQUEST, "A parameter cannot be understood";
    BadBody = "bad_body", BAD_REQUEST, "The body cannot be understood";
    BadEventType = "bad_event_type", BAD_REQUEST, "Not an event type";
    BadEventId = "bad_event_id", BAD_REQUEST, "Not an event id";
    BadArgument = "bad_argument", BAD_REQUEST, "A publish argument is wrong";
    DataNotUtf8 = "data_not_utf8", BAD_REQUEST, "The data is not UTF-8";
    BadAuthorization = "bad_authorization", BAD_REQUEST, "The credentials are not carried as they should be";
    SessionTooLarge = "session_too_large", BAD_REQUEST, "The token does not fit into a cookie";
    NoTokensHere = "no_tokens_here", BAD_REQUEST, "This gateway asks for no tokens";
    TokenMissing = "token_missing", UNAUTHORIZED, "A token is needed";
    InvalidToken = "invalid_token", UNAUTHORIZED, "The token is not valid";
    TokenExpired = "token_expired", UNAUTHORIZED, "The token has expired";
    TokenRevoked = "token_revoked", UNAUTHORIZED, "The token was revoked";
    BadTicket = "bad_ticket", UNAUTHORIZED, "The ticket is not valid";
    InsufficientScope = "insufficient_scope", FORBIDDEN, "The token does not allow this";
    OtherSubject = "other_subject", FORBIDDEN, "The stream belongs to another subject";
    OriginRequired = "origin_required", FORBIDDEN, "The request does not say its page's origin";
    OriginNotAllowed = "origin_not_allowed", FORBIDDEN, "The page's origin is not allowed";
    NotFound = "not_found", NOT_FOUND, "There is nothing here";
    UnknownConnection = "unknown_connection", NOT_FOUND, "No such stream is open";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not offered here";
    NotAcceptable = "not_acceptable", NOT_ACCEPTABLE, "None of the accepted media types is offered";
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, "The body took too long";
    EventIdReused = "event_id_reused", CONFLICT, "The event id was used for another event";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    EventTooLarge = "event_too_large", PAYLOAD_TOO_LARGE, "The event is too large";
    Misdirected = "misdirected", MISDIRECTED_REQUEST, "Another node is meant";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The media type is not understood";
    HeadTooLarge = "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's head is too large";
    TooManyConnections = "too_many_connections", TOO_MANY_REQUESTS, "A limit of connections is reached";
    TooManyAttempts = "too_many_attempts", TOO_MANY_REQUESTS, "Too many requests";
    TooManyPublishes = "too_many_publishes", TOO_MANY_REQUESTS, "Too many events";
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong inside the gateway";
    KeysUnavailable = "keys_unavailable", SERVICE_UNAVAILABLE, "Tokens cannot be verified now";
    BrokerUnavailable = "broker_unavailable", SERVICE_UNAVAILABLE, "The event broker is unavailable";
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "The node is too busy";
    Draining = "draining", SERVICE_UNAVAILABLE, "The node is leaving";
}

/// A refusal, ready to be sent: `Err(Problem)` from any route.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    parameter: Option<String>,
    value: Option<String>,
    retry_after: Option<Duration>,
    challenge: Option<String>,
    limit: Option<LimitName>,
}

impl Problem {
    /// Takes what went wrong here and what to do. `detail` must hold no secret; what looks like a token in it is hidden.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem {
            code,
            detail: hide::tokens(&detail.into()).into_owned(),
            parameter: None,
            value: None,
            retry_after: None,
            challenge: None,
            limit: None,
        }
    }

    /// Names the limit that was reached, so that it is told and counted.
    #[must_use]
    pub fn of_limit(mut self, limit: LimitName) -> Problem {
        self.limit = Some(limit);
        self
    }

    /// The same where some limit is named already.
    #[must_use]
    pub fn of_another_limit(mut self, from: LimitName, to: LimitName) -> Problem {
        if self.limit == Some(from) {
            self.limit = Some(to);
        }
        self
    }

    /// The limit that was reached.
    pub fn limit(&self) -> Option<LimitName> {
        self.limit
    }

    /// Names the parameter and quotes its value (shortened to 128 characters), without what looks like a token.
    #[must_use]
    pub fn at(mut self, parameter: &str, value: &str) -> Problem {
        self.parameter = Some(parameter.to_owned());
        // First hidden, then shortened: half a token is a secret too.
        self.value = Some(hide::tokens(value).chars().take(QUOTE_CHARS).collect());
        self
    }

    /// Adds `Retry-After` (RFC 9110, section 10.2.3), rounded up to whole seconds.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Problem {
        self.retry_after = Some(wait);
        self
    }

    /// The wait before the caller comes back, if it passes.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Adds `WWW-Authenticate` (RFC 9110, section 11.6.1), without what looks like a token.
    #[must_use]
    pub fn challenge(mut self, challenge: &str) -> Problem {
        self.challenge = Some(hide::tokens(challenge).into_owned());
        self
    }

    /// What went wrong here and what to do.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.code.status());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.insert_header((header::RETRY_AFTER, seconds.max(1)));
        }
        if let Some(challenge) = &self.challenge {
            response.insert_header((header::WWW_AUTHENTICATE, challenge.as_str()));
        }
        let request_id = RequestId::current();
        let body = Body {
            r#type: format!("urn:sluice:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            parameter: self.parameter.as_deref(),
            value: self.value.as_deref(),
            limit: self.limit.map(LimitName::as_label),
            request_id: request_id.as_ref().map(RequestId::as_str),
        };
        // Texts and numbers only: this cannot fail, and if it did, the status still says the main thing.
        let mut response = response.body(serde_json::to_vec(&body).unwrap_or_default());
        Refused::Problem(self.code).note_on(&mut response);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let code = match &refusal {
            Refusal::BadEventType => Code::BadEventType,
            Refusal::BadEventId => Code::BadEventId,
            Refusal::DataNotUtf8 => Code::DataNotUtf8,
            Refusal::EventTooLarge(_) => Code::EventTooLarge,
            Refusal::BadArgument(_) => Code::BadArgument,
            Refusal::EventIdReused => Code::EventIdReused,
            Refusal::BadKeys(_) | Refusal::BadHead(_) | Refusal::BadStream => Code::Internal,
        };
        let problem = Problem::new(code, refusal.to_string());
        if code == Code::EventTooLarge {
            return problem.of_limit(LimitName::EventBytes);
        }
        problem
    }
}

/// The answer to a path that has no route: for the application's default service.
///
/// # Errors
/// Always.
pub async fn not_found(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Err(
        Problem::new(Code::NotFound, "no such path; the routes are under /v1")
            .at("path", request.path()),
    )
}

/// The answer to a known path asked with another method; `allowed` is the value of `Allow`.
pub fn method_not_allowed(allowed: &'static str) -> HttpResponse {
    let problem = Problem::new(Code::MethodNotAllowed, format!("use {allowed}"));
    let mut response = problem.error_response();
    response
        .headers_mut()
        .insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use actix_web::body::to_bytes;

    use super::*;

    async fn json(problem: &Problem) -> serde_json::Value {
        let body = to_bytes(problem.error_response().into_body())
            .await
            .expect("a body in memory");
        serde_json::from_slice(&body).expect("JSON")
    }

    #[actix_web::test]
    async fn a_problem_says_what_where_and_when_to_come_again() {
        let problem = Problem::new(Code::BadParameter, "not a duration")
            .at("since", &"x".repeat(500))
            .retry_after(Duration::from_millis(1500));
        let response = problem.error_response();
        assert_eq!(response.status(), 400);
        assert_eq!(
            response.headers().get("content-type").expect("set"),
            "application/problem+json"
        );
        assert_eq!(response.headers().get("retry-after").expect("set"), "2");
        let json = json(&problem).await;
        assert_eq!(json["type"], "urn:sluice:problem:bad_parameter");
        assert_eq!(json["code"], "bad_parameter");
        assert_eq!(json["status"], 400);
        assert_eq!(json["parameter"], "since");
        assert_eq!(json["value"].as_str().expect("text").len(), QUOTE_CHARS);
    }

    #[actix_web::test]
    async fn a_token_in_a_wrong_place_is_not_repeated() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2ln";
        let padded = format!("{}{token}", "x/".repeat(60));
        let problem = Problem::new(Code::BadBody, format!("unknown field `{token}`"))
            .at("path", &padded)
            .challenge(&format!("Bearer error_description=\"{token}\""));
        let told = format!(
            "{problem} {problem:?} {:?} {}",
            problem.error_response().headers(),
            json(&problem).await
        );
        assert!(!told.contains("eyJ"), "{told}");
        assert!(told.contains("unknown field `[redacted]`"), "{told}");
    }

    #[test]
    fn codes_are_unique_and_errors() {
        let texts: HashSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }

    /// A publish refusal has the same code over HTTP as from the script, unless the fault is on our side.
    #[test]
    fn publish_refusals_keep_their_code() {
        for refusal in [
            Refusal::BadEventType,
            Refusal::BadEventId,
            Refusal::DataNotUtf8,
            Refusal::EventTooLarge("x".to_owned()),
            Refusal::BadArgument("x".to_owned()),
            Refusal::EventIdReused,
        ] {
            let code = refusal.code();
            assert_eq!(Problem::from(refusal).code().as_str(), code);
        }
        assert_eq!(Problem::from(Refusal::BadStream).code(), Code::Internal);
    }
}
