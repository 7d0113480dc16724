//! What a node warns of during an outage: once, not for every request.

use crate::harness::http::call;
use crate::harness::process::Process;
use crate::harness::redis_server::RedisServer;

/// Every publish fails, alone and in a batch, and the log says so once.
#[test]
fn failing_publishes_are_warned_of_once_a_minute() {
    let redis = RedisServer::start();
    let node = Process::start(&[("BROKER__MODE", "redis"), ("REDIS__URL", &redis.url())]);
    let _: () = redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..5 {
        let answer = call(node.public, "POST", "/v1/channels/a/events", &[], b"x");
        assert_eq!(answer.status, 503, "{answer:?}");
        let line = br#"{"channel":"a","data":"x"}"#;
        let answer = call(node.public, "POST", "/v1/publish", &[], line);
        assert!(answer.body.contains("broker_unavailable"), "{answer:?}");
    }
    let log = node.log();
    assert_eq!(log.matches("a publish failed").count(), 1, "{log}");
    assert!(log.contains("OOM"), "{log}");
}
