//! What a ticket grants while it waits for its one use: to read, as the token that asked for it may, and never longer than
//! that token is good. It is written as JSON for any node to read; of the token itself nothing is kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sluice_wire::channel::Channel;

use super::patterns::Patterns;
use super::{AuthError, Grant};
use crate::holder::Holder;

/// Members that another version adds are ignored.
#[derive(Serialize, Deserialize)]
struct Kept {
    holder: Holder,
    /// Unix time in milliseconds.
    expires_at: Option<u64>,
    /// Those of the token, or the channels that the ticket was narrowed to.
    subscribe: Patterns,
}

/// Writes what a ticket takes over from a grant: all of its right to read, or only these channels of it.
#[must_use]
pub fn write(grant: &Grant, only: Option<&[Channel]>) -> String {
    let subscribe = match only {
        Some(channels) => Patterns::of(channels),
        None => grant.subscribe.clone(),
    };
    let millis = |at: SystemTime| {
        at.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis()
    };
    let kept = Kept {
        holder: (*grant.holder).clone(),
        expires_at: grant
            .expires_at
            .map(|at| u64::try_from(millis(at)).unwrap_or(u64::MAX)),
        subscribe,
    };
    // Texts and numbers only: this cannot fail.
    serde_json::to_string(&kept).unwrap_or_default()
}

/// Reads it back, for the one who brought the ticket.
///
/// # Errors
/// [`AuthError::Expired`] when the token has expired since; [`AuthError::BadTicket`] for what no node has written.
pub fn read(text: &[u8], now: SystemTime) -> Result<Grant, AuthError> {
    let kept: Kept = serde_json::from_slice(text).map_err(|_| AuthError::BadTicket)?;
    let expires_at = match kept.expires_at {
        Some(ms) => Some(
            UNIX_EPOCH
                .checked_add(Duration::from_millis(ms))
                .ok_or(AuthError::BadTicket)?,
        ),
        None => None,
    };
    if expires_at.is_some_and(|at| at <= now) {
        return Err(AuthError::Expired);
    }
    Ok(Grant {
        subscribe: kept.subscribe,
        publish: Patterns::default(),
        holder: Arc::new(kept.holder),
        expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Action;

    fn channel(name: &str) -> Channel {
        Channel::parse(name).expect("a name")
    }

    fn grant(subject: &str, expires_at: SystemTime) -> Grant {
        let patterns = ["orders.*", "user.{sub}"].map(str::to_owned);
        let patterns = Patterns::parse(&patterns, subject).expect("patterns");
        Grant {
            holder: Arc::new(Holder {
                subject: Some(subject.to_owned()),
                token_id: Some("j1".to_owned()),
                issued_at: Some(7),
                session: Some("s".to_owned()),
            }),
            expires_at: Some(expires_at),
            subscribe: patterns.clone(),
            publish: patterns,
        }
    }

    fn whole(later: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000 + later)
    }

    #[test]
    fn a_ticket_reads_as_its_token_does_and_publishes_nothing() {
        let grant = grant("42", whole(60));
        let back = read(write(&grant, None).as_bytes(), whole(0)).expect("reads");
        assert_eq!(back.holder, grant.holder);
        assert_eq!(back.expires_at, grant.expires_at);
        assert_eq!(back.subscribe, grant.subscribe);
        assert!(back.check(Action::Subscribe, &channel("user.42")).is_ok());
        assert!(back.check(Action::Subscribe, &channel("user.43")).is_err());
        assert!(back.check(Action::Publish, &channel("user.42")).is_err());
    }

    #[test]
    fn a_narrowed_ticket_reads_only_its_channels() {
        let only = [channel("orders.eu")];
        let text = write(&grant("42", whole(60)), Some(&only));
        let back = read(text.as_bytes(), whole(0)).expect("reads");
        assert_eq!(back.subscribe.exact(), only);
        assert!(back.check(Action::Subscribe, &channel("user.42")).is_err());
    }

    /// Written out, a subject such as `*` would be a wildcard.
    #[test]
    fn a_subject_does_not_widen_a_ticket() {
        for subject in ["*", "**", "{sub}"] {
            let text = write(&grant(subject, whole(60)), None);
            let back = read(text.as_bytes(), whole(0)).expect("reads");
            assert!(
                back.check(Action::Subscribe, &channel("user.42")).is_err(),
                "{subject}"
            );
        }
    }

    #[test]
    fn a_ticket_is_not_good_for_longer_than_its_token() {
        let text = write(&grant("42", whole(60)), None);
        assert!(read(text.as_bytes(), whole(59)).is_ok());
        assert_eq!(
            read(text.as_bytes(), whole(60)).err(),
            Some(AuthError::Expired)
        );
        for foreign in ["", "{}", "[]", r#"{"holder":{},"subscribe":["a*"]}"#] {
            let error = read(foreign.as_bytes(), whole(0)).err();
            assert_eq!(error, Some(AuthError::BadTicket), "{foreign}");
        }
    }
}
