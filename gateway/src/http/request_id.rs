//! The name of a request in its answer, in its problem and in the log's lines about it: what its caller or a proxy chose,
//! where that is fit to be repeated, else a random one. It serves to find lines, and proves nothing.

use std::rc::Rc;

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;

use super::{hide, told};

/// Carries it, in requests and in answers.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest that is taken from a request.
const MAX_BYTES: usize = 64;

tokio::task_local! {
    /// Of the request that this task answers.
    static CURRENT: RequestId;
}

/// 1 to 64 letters, digits and `-_.:+/=@`. A clone is the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Rc<str>);

impl RequestId {
    /// That of the request which is being answered; nothing outside of one.
    #[must_use]
    pub fn current() -> Option<RequestId> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(headers: &HeaderMap) -> RequestId {
        let mut values = headers.get_all(REQUEST_ID);
        match (values.next(), values.next()) {
            (Some(value), None) => value
                .to_str()
                .ok()
                .filter(|text| is_fit(text))
                .map_or_else(RequestId::random, |text| RequestId(text.into())),
            (Some(_) | None, _) => RequestId::random(),
        }
    }

    fn random() -> RequestId {
        RequestId(format!("{:032x}", rand::random::<u128>()).into())
    }
}

/// A token in the wrong header is as secret as in the right one.
fn is_fit(text: &str) -> bool {
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.:+/=@".contains(&b);
    (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(is_safe) && !hide::has_token(text)
}

/// Middleware for both listeners, outside of all others: `App::new().wrap(from_fn(request_id::layer))`.
///
/// # Errors
/// Those of the routes behind it.
pub async fn layer(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    let id = RequestId::of(request.headers());
    let answered = CURRENT.scope(id.clone(), next.call(request));
    let mut response = answered.await?;
    told::refusal(&response, &id);
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn taken(values: &[&[u8]]) -> RequestId {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).expect("a header's value");
            headers.append(REQUEST_ID, value);
        }
        RequestId::of(&headers)
    }

    #[rstest]
    #[case("a")]
    #[case("6ba7b810-9dad-11d1-80b4-00c04fd430c8")]
    #[case("0af7651916cd43dd8448eb211c80319c")]
    #[case("10.0.0.1:3417_10.0.0.2:80_5F2A_0007:1C")]
    #[case("Root=1-67891233-abcdef012345678912345678")]
    #[case(&"x".repeat(MAX_BYTES))]
    fn a_fit_one_is_taken_as_it_is(#[case] text: &str) {
        assert_eq!(taken(&[text.as_bytes()]).as_str(), text);
    }

    #[rstest]
    #[case::none(&[] as &[String])]
    #[case::empty(&[String::new()])]
    #[case::too_long(&["x".repeat(MAX_BYTES + 1)])]
    #[case::blank(&["a b".to_owned()])]
    #[case::tab(&["a\tb".to_owned()])]
    #[case::quote(&["a\"b".to_owned()])]
    #[case::not_ascii(&["é".to_owned()])]
    #[case::two(&["a".to_owned(), "a".to_owned()])]
    #[case::list(&["a,b".to_owned()])]
    #[case::token(&["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2ln".to_owned()])]
    #[case::ticket(&["Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFiY2RlZmdoaWo".to_owned()])]
    fn anything_else_is_replaced_by_a_random_one(#[case] values: &[impl AsRef<[u8]>]) {
        let values: Vec<&[u8]> = values.iter().map(AsRef::as_ref).collect();
        let (one, other) = (taken(&values), taken(&values));
        assert_ne!(one, other);
        for id in [one, other] {
            assert_eq!(id.as_str().len(), 32, "{id:?}");
            assert!(id.as_str().bytes().all(|b| b.is_ascii_hexdigit()), "{id:?}");
            assert!(is_fit(id.as_str()), "the next hop takes it");
        }
    }

    #[test]
    fn outside_of_a_request_there_is_none() {
        assert_eq!(RequestId::current(), None);
    }
}
