//! How credentials are carried, and how refusals are told.

use std::ops::RangeInclusive;

use actix_web::ResponseError as _;
use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;
use rstest::rstest;
use sluice_wire::channel::Channel;

use super::*;
use crate::auth::Action;
use crate::config::SameSite;

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

fn carriers(query_token: bool) -> Carriers {
    Carriers {
        session: SessionConfig {
            cookie: "s".to_owned(),
            same_site: SameSite::Strict,
            domain: None,
        },
        ticket_ttl: Duration::from_secs(30),
        query_token,
    }
}

/// Which carrier counts where several could, on a route that reads.
#[rstest]
#[case::nothing("", &[], Ok(Carrier::None))]
#[case::header("", &[("Authorization", "Bearer t")], Ok(Carrier::Token("t".into())))]
#[case::header_before_cookie("", &[("Authorization", "Bearer t"), ("Cookie", "s=c")], Ok(Carrier::Token("t".into())))]
#[case::cookie("", &[("Cookie", "x=y; s=c")], Ok(Carrier::Cookie("c")))]
#[case::empty_cookie("", &[("Cookie", "s=")], Ok(Carrier::Cookie("")))]
#[case::ticket_before_cookie("ticket=k", &[("Cookie", "s=c")], Ok(Carrier::Ticket("k".into())))]
#[case::empty_ticket("ticket=", &[], Ok(Carrier::Ticket("".into())))]
#[case::header_and_ticket("ticket=k", &[("Authorization", "Bearer t")], Err(SEVERAL))]
#[case::header_and_token("token=k", &[("Authorization", "Bearer t")], Err(SEVERAL))]
#[case::ticket_and_token("ticket=k&token=t", &[], Err(SEVERAL))]
#[case::two_tickets("ticket=k&ticket=k", &[], Err(SEVERAL))]
#[case::token_off("token=t", &[("Cookie", "s=c")], Err(QUERY_TOKEN_OFF))]
#[case::other_scheme("", &[("Authorization", "Basic eDp5")], Err(AuthError::Missing))]
#[case::other_scheme_and_cookie("", &[("Authorization", "Basic eDp5"), ("Cookie", "s=c")], Ok(Carrier::Cookie("c")))]
#[case::malformed_header_and_cookie("", &[("Authorization", "Bearer"), ("Cookie", "s=c")], Err(AuthError::BadAuthorization))]
fn one_carrier_counts(
    #[case] query: &str,
    #[case] headers: &[(&'static str, &str)],
    #[case] expected: Result<Carrier<'static>, AuthError>,
) {
    let request = headers.iter().fold(
        TestRequest::with_uri(&format!("/v1/events?{query}")),
        |request, header| request.append_header(*header),
    );
    let request = request.to_http_request();
    assert_eq!(carrier(&request, &carriers(false), true), expected);
}

#[test]
fn a_credential_in_the_url_is_for_reading_and_a_token_only_where_switched_on() {
    let request = |query: &str| TestRequest::with_uri(&format!("/?{query}")).to_http_request();
    let reading = request("token=t");
    let token = Ok(Carrier::Token("t".into()));
    assert_eq!(carrier(&reading, &carriers(true), true), token);
    for query in ["token=t", "ticket=k"] {
        let request = request(query);
        let publishing = carrier(&request, &carriers(true), false);
        assert_eq!(publishing, Err(FOR_READING), "{query}");
        assert!(is_url_secret(&request));
    }
    assert!(!is_url_secret(&request("channel=token&tickets=1")));
}

#[rstest]
#[case::missing(AuthError::Missing, 401, None)]
#[case::malformed(AuthError::BadAuthorization, 400, Some("invalid_request"))]
#[case::invalid(AuthError::Invalid("no \"good\""), 401, Some("invalid_token"))]
#[case::expired(AuthError::Expired, 401, Some("invalid_token"))]
#[case::ticket(AuthError::BadTicket, 401, Some("invalid_token"))]
#[case::carrier(SEVERAL, 400, Some("invalid_request"))]
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

/// No other token would help there.
#[rstest]
#[case(AuthError::OriginRequired, 403, None)]
#[case(AuthError::OriginNotAllowed, 403, None)]
#[case(AuthError::TicketsAway, 503, Some(1..=3))]
#[case(AuthError::NotYet, 503, Some(1..=3))]
#[case(AuthError::KeysUnavailable, 503, Some(5..=15))]
fn a_page_or_an_outage_is_not_challenged(
    #[case] error: AuthError,
    #[case] status: u16,
    #[case] retry_after: Option<RangeInclusive<u64>>,
) {
    let response = Problem::from(error).error_response();
    assert_eq!(response.status(), status);
    assert!(!response.headers().contains_key("www-authenticate"));
    let wait = response.headers().get("retry-after");
    let wait = wait.map(|wait| wait.to_str().expect("ASCII").parse().expect("seconds"));
    match retry_after {
        None => assert_eq!(wait, None),
        Some(seconds) => assert!(wait.is_some_and(|wait| seconds.contains(&wait)), "{wait:?}"),
    }
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
