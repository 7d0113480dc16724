//! `sluice install-function` on a real Redis.

use crate::support::{Redis, run, sluice};

fn version(redis: &Redis) -> i64 {
    redis.command(&["FCALL", "sluice_version", "0"])
}

fn load_version(redis: &Redis, version: u32) {
    let library = format!(
        "#!lua name=sluice\nredis.register_function{{function_name='sluice_version', \
         callback=function() return {version} end, flags={{'no-writes'}}}}"
    );
    let () = redis.command(&["FUNCTION", "LOAD", "REPLACE", &library]);
}

#[test]
fn it_installs_once_and_says_so() {
    let redis = Redis::start();
    let first = run(redis.sluice(&["install-function"]));
    assert_eq!((first.code, first.stderr.as_str()), (0, ""));
    assert!(
        first.stdout.starts_with("installed version "),
        "{}",
        first.stdout
    );
    let installed = version(&redis);
    let again = run(redis.sluice(&["install-function"]));
    assert_eq!(again.code, 0);
    assert!(
        again.stdout.ends_with("already: left alone\n"),
        "{}",
        again.stdout
    );
    assert_eq!(version(&redis), installed);
}

#[test]
fn an_older_version_is_replaced_and_a_newer_one_left_alone() {
    let redis = Redis::start();
    load_version(&redis, 0);
    let ran = run(redis.sluice(&["install-function"]));
    assert!(ran.stdout.starts_with("replaced version 0 "), "{ran:?}");
    assert!(version(&redis) > 0);

    load_version(&redis, 9999);
    let ran = run(redis.sluice(&["install-function"]));
    assert_eq!(ran.code, 0);
    assert!(
        ran.stdout.contains("newer than this sluice's"),
        "{}",
        ran.stdout
    );
    assert_eq!(version(&redis), 9999);
}

/// Settings that would silently not be taken are an error; with --replace they are taken.
#[test]
fn settings_are_never_silently_dropped() {
    let redis = Redis::start();
    assert_eq!(run(redis.sluice(&["install-function"])).code, 0);
    let refused = run(redis.sluice(&["install-function", "--maxlen", "1"]));
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("hint: add --replace"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        run(redis.sluice(&["install-function", "--ttl", "2s", "--replace"])).code,
        0
    );
    redis.publish("orders", "x");
    let ttl: i64 = redis.command(&["PTTL", "sluice:{orders}:s"]);
    assert!((1..=2000).contains(&ttl), "{ttl}");
}

#[test]
fn the_printed_texts_are_what_redis_takes() {
    let redis = Redis::start();
    let library = run(sluice(&[
        "install-function",
        "--print",
        "--event-bytes",
        "5B",
    ]));
    assert_eq!((library.code, library.stderr.as_str()), (0, ""));
    let name: String = redis.command(&["FUNCTION", "LOAD", &library.stdout]);
    assert_eq!(name, "sluice");

    let script = run(sluice(&["install-function", "--eval"])).stdout;
    let keys = ["sluice:{a}:s", "sluice:{a}:m"];
    let position: String = redis.command(&["EVAL", &script, "2", keys[0], keys[1], "t", "data"]);
    assert!(position.starts_with(&redis.stream("a")[0].0));
}

#[test]
fn with_json_it_says_what_it_did_in_an_object() {
    let redis = Redis::start();
    let install = |words: &[&str]| {
        let ran = run(redis.sluice(&[&["install-function", "--json"], words].concat()));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    };
    let first = install(&[]);
    let version = version(&redis);
    assert_eq!(
        first,
        format!("{{\"action\":\"installed\",\"version\":{version},\"found\":null}}\n")
    );
    assert_eq!(
        install(&[]),
        format!("{{\"action\":\"kept\",\"version\":{version},\"found\":{version}}}\n")
    );
    load_version(&redis, 0);
    assert_eq!(
        install(&[]),
        format!("{{\"action\":\"replaced\",\"version\":{version},\"found\":0}}\n")
    );
}

#[test]
fn it_needs_a_redis() {
    let ran = run(sluice(&["install-function"]));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("SLUICE_REDIS_URL"), "{}", ran.stderr);
}
