//! A user who lacks a right is told which before anything is written.

use redis::{Connection, RedisError};
use sluice_wire::{
    Defaults, Publish, Refusal,
    publish::{FUNCTION_ENSURE_HEAD, FUNCTION_PUBLISH, ensure_head_script, parse_reply, script},
};

use crate::support::script::{Redis, call, in_each_form, in_each_form_with};

const COMMANDS: &str = "+eval +evalsha +fcall +get +set +del +time +xadd +pexpire +pttl +publish";

/// A connection of a user with the rights of the contract, then changed by `rules`.
fn user(redis: &mut Redis, rules: &[&str]) -> Connection {
    let mut words = vec!["ACL", "SETUSER", "publisher", "reset", "on", ">secret"];
    words.extend(["~sluice:{*}:*", "&sluice:{*}"]);
    words.extend(COMMANDS.split(' '));
    words.extend(rules);
    redis.run::<()>(&words);
    let mut connection = redis.server.connect();
    redis::cmd("AUTH")
        .arg(&["publisher", "secret"])
        .query::<()>(&mut connection)
        .expect("the user may log in");
    connection
}

fn publish(redis: &Redis, connection: &mut Connection) -> Result<Vec<u8>, RedisError> {
    let publish = Publish {
        event_id: Some("ev-1"),
        ..Publish::new(&redis.channel, b"x")
    };
    let keys = publish.keys(&redis.keys);
    let text = script(&redis.defaults);
    call(redis.form, &text, FUNCTION_PUBLISH, &keys, &publish.args()).query(connection)
}

fn ensure_head(redis: &Redis, connection: &mut Connection) -> Result<Vec<u8>, RedisError> {
    let keys = [redis.stream_key(), redis.head_key()];
    let text = ensure_head_script(&redis.defaults);
    call(redis.form, &text, FUNCTION_ENSURE_HEAD, &keys, &[]).query(connection)
}

fn assert_denied(result: Result<Vec<u8>, RedisError>, command: &str, grants: &str) {
    let error = result.expect_err("denied");
    assert_eq!(error.code(), Some("NOPERM"), "{error}");
    let detail = error.detail().expect("a text");
    assert!(
        detail.contains(&format!("may not run {command} on ")),
        "{detail}"
    );
    assert!(detail.contains(&format!("grant {grants}")), "{detail}");
    assert_eq!(Refusal::from_redis_error(&error.to_string()), None);
}

/// Each rule that takes a right away, the command that lacks it, and what is to be granted.
const LACKS: [(&str, &str, &str); 6] = [
    (
        "resetchannels",
        "PUBLISH",
        "+publish and &sluice:{orders.eu}",
    ),
    ("-publish", "PUBLISH", "+publish and &sluice:{orders.eu}"),
    ("-xadd", "XADD", "+xadd"),
    ("-pexpire", "PEXPIRE", "+pexpire"),
    ("-set", "SET", "+set"),
    ("-del", "DEL", "+del"),
];

#[test]
fn a_publish_that_lacks_a_right_writes_nothing() {
    in_each_form(|redis| {
        for (rule, command, grants) in LACKS {
            let mut connection = user(redis, &[rule]);
            assert_denied(publish(redis, &mut connection), command, grants);
            assert_eq!(redis.all_keys(), [""; 0], "{rule}");
        }
        let mut connection = user(redis, &[]);
        let reply = publish(redis, &mut connection).expect("nothing is lacking");
        assert!(parse_reply(&reply).is_ok());
    });
}

/// Redis itself asks for all declared keys, with the right to write.
#[test]
fn a_key_that_is_not_granted_is_refused_before_the_script() {
    in_each_form(|redis| {
        for lacking in ["m", "s", "i:*"] {
            let keys = ["m", "s", "i:*"].map(|key| {
                let right = if key == lacking { "%R~" } else { "~" };
                format!("{right}*:{key}")
            });
            let mut connection = user(redis, &["resetkeys", &keys[0], &keys[1], &keys[2]]);
            let error = publish(redis, &mut connection).expect_err("denied");
            assert_eq!(error.code(), Some("NOPERM"), "{error}");
            assert_eq!(redis.all_keys(), [""; 0], "{lacking}");
        }
    });
}

#[test]
fn a_retry_with_the_right_granted_publishes_once() {
    in_each_form(|redis| {
        let first = redis.append("before");
        let mut connection = user(redis, &["resetchannels", "-del"]);
        for _ in 0..2 {
            let denied = publish(redis, &mut connection);
            assert_denied(denied, "PUBLISH", "+publish and &sluice:{orders.eu}");
        }
        assert_eq!(redis.head().expect("a head").position, first);
        assert_eq!(redis.events().len(), 1);
        // A living chain deletes nothing, so that right is not asked for.
        let mut connection = user(redis, &["-del"]);
        publish(redis, &mut connection).expect("published");
        assert_eq!(redis.events().len(), 2);
    });
}

#[test]
fn a_head_is_made_by_those_who_may() {
    in_each_form(|redis| {
        let (stream, head) = (redis.stream_key(), redis.head_key());
        redis.append("stale");
        redis.delete(&head);
        for (rule, command) in [("-del", "DEL"), ("-set", "SET")] {
            let mut connection = user(redis, &[rule]);
            assert_denied(ensure_head(redis, &mut connection), command, "+");
            assert_eq!(
                redis.all_keys(),
                [stream.as_str()],
                "the stale stream stays"
            );
        }
        let mut connection = user(redis, &["resetchannels"]);
        ensure_head(redis, &mut connection).expect("no message is sent");
        redis.run::<()>(&["PEXPIRE", &head, "60000"]);
        let mut connection = user(redis, &["-pexpire"]);
        assert_denied(ensure_head(redis, &mut connection), "PEXPIRE", "+pexpire");
    });
}

#[test]
fn on_a_cluster_the_sharded_command_is_named() {
    let defaults = Defaults {
        sharded: true,
        ..Defaults::default()
    };
    in_each_form_with(defaults, &[], |redis| {
        let mut connection = user(redis, &[]);
        let grants = "+spublish and &sluice:{orders.eu}";
        assert_denied(publish(redis, &mut connection), "SPUBLISH", grants);
        assert_eq!(redis.all_keys(), [""; 0]);
    });
}
