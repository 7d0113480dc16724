//! How credentials are carried, and how refusals are told.

use actix_web::ResponseError as _;
use actix_web::http::header::HeaderValue;
use rstest::rstest;
use sluice_wire::channel::Channel;

use super::*;
use crate::auth::Action;

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        let value = HeaderValue::from_str(value).expect("a header value");
        headers.append(AUTHORIZATION, value);
    }
    headers
}

/// Status and challenge of a refusal.
fn told(error: AuthError) -> (u16, String) {
    let response = Problem::from(error).error_response();
    let challenge = response.headers().get("www-authenticate").expect("set");
    let challenge = challenge.to_str().expect("ASCII").to_owned();
    (response.status().as_u16(), challenge)
}

#[rstest]
#[case::basic(&["Basic eDp5"], AuthError::Missing)]
#[case::empty(&["Bearer"], AuthError::BadAuthorization)]
#[case::blank(&["Bearer  "], AuthError::BadAuthorization)]
#[case::two_words(&["Bearer a b"], AuthError::BadAuthorization)]
#[case::twice(&["Bearer a", "Bearer b"], AuthError::BadAuthorization)]
fn headers_that_carry_no_token_are_refused(#[case] values: &[&str], #[case] error: AuthError) {
    assert_eq!(bearer(&headers(values)), Err(error));
}

#[rstest]
#[case::usual("Bearer a.b.c")]
#[case::other_case("bEARER a.b.c")]
#[case::blanks("Bearer   a.b.c ")]
fn a_bearer_token_is_found(#[case] value: &str) {
    assert_eq!(bearer(&headers(&[value])), Ok(Some("a.b.c")));
    assert_eq!(bearer(&HeaderMap::new()), Ok(None));
}

#[rstest]
#[case::missing(AuthError::Missing, 401, None)]
#[case::malformed(AuthError::BadAuthorization, 400, Some("invalid_request"))]
#[case::invalid(AuthError::Invalid("no \"good\""), 401, Some("invalid_token"))]
#[case::expired(AuthError::Expired, 401, Some("invalid_token"))]
fn refusals_carry_the_challenge_of_rfc_6750(
    #[case] error: AuthError,
    #[case] status: u16,
    #[case] code: Option<&str>,
) {
    let (told_status, challenge) = told(error);
    assert_eq!(told_status, status);
    match code {
        None => assert_eq!(challenge, "Bearer realm=\"sluice\""),
        Some(code) => assert!(
            challenge.contains(&format!("error=\"{code}\"")),
            "{challenge}"
        ),
    }
    assert_eq!(challenge.matches('"').count() % 2, 0, "{challenge}");
}

#[test]
fn a_channel_that_is_not_granted_is_forbidden() {
    let error = AuthError::Scope {
        action: Action::Publish,
        channel: Channel::parse("orders").expect("valid"),
    };
    let (status, challenge) = told(error);
    assert_eq!(status, 403);
    assert!(
        challenge.contains("error=\"insufficient_scope\""),
        "{challenge}"
    );
}
