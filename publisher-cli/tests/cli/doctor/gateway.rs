//! A gateway as it should be, refused, and behind proxies with one fault each.

use std::time::Duration;

use super::proxy::{self, Fault, rewrite};
use super::{Gateway, Report, doctor};
use crate::support::{BlackHole, Redis, Responder, eventually, reply};

const ORIGIN: &str = "https://app.example";
const CORS: (&str, &str) = ("SLUICE__HTTP__CORS_ORIGINS", ORIGIN);

fn behind(gateway: &Gateway, fault: Fault, more: &[&str]) -> Report {
    let url = format!("http://127.0.0.1:{}", proxy::start(gateway.port, fault));
    let mut arguments = vec!["--gateway", &url, "--quiet-for", "1s", "--timeout", "1s"];
    arguments.extend(more);
    doctor(&arguments)
}

#[test]
fn a_gateway_set_up_right_passes_every_check() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[CORS]);
    let report = doctor(&[
        "--gateway",
        &gateway.url(),
        "--redis",
        &redis.url(),
        "--origin",
        ORIGIN,
        "--quiet-for",
        "1s",
    ]);
    assert_eq!(
        (
            report.code,
            report.count("problem"),
            report.count("skipped")
        ),
        (0, 0, 0),
        "{report:#?}"
    );
    report.has("gateway_quiet", "ok", "heartbeats", "");
    report.has("gateway_replay", "ok", "exactly the event it missed", "");
    report.has("gateway_http2", "note", "h2c", "TLS");
    for code in [
        "identity",
        "access",
        "proxy",
        "http1",
        "headers",
        "compression",
        "first_byte",
        "publish",
        "delivery",
        "cors",
        "broker",
    ] {
        assert_eq!(
            report.status(&format!("gateway_{code}")),
            "ok",
            "{report:#?}"
        );
    }
    let mut keys: Vec<String> = redis.command(&["KEYS", "*"]);
    // What the gateway tells of itself there, and asks of itself.
    const OWN: [&str; 2] = ["sluice:{_ctl}:report", "sluice:{_canary."];
    keys.retain(|key| !OWN.iter().any(|own| key.starts_with(own)));
    assert_eq!(keys, [""; 0], "the doctor's channels are still there");
}

/// A node goes on listening for a while after the doctor's streams have ended, and makes a head anew that it misses then.
#[test]
fn nothing_is_left_in_redis_after_the_node_has_stopped_listening() {
    let redis = Redis::start();
    let gateway = Gateway::start(
        &redis,
        &[
            ("SLUICE__REDIS__LINGER", "1s"),
            ("SLUICE__REDIS__AUDIT_INTERVAL", "50ms"),
            ("SLUICE__REDIS__REPORT_INTERVAL", "0s"),
            ("SLUICE__CANARY__ENABLED", "false"),
        ],
    );
    let mut command = redis.sluice(&["doctor", "--json", "--quiet-for", "100ms"]);
    command.args(["--gateway", &gateway.url()]);
    let report = Report::of(command);
    assert_eq!(report.code, 0, "{report:#?}");
    // So that the node has had every chance.
    eventually("the node listens no more", || {
        let topics: Vec<String> = redis.command(&["PUBSUB", "CHANNELS", "*sluice-doctor.*"]);
        topics.is_empty().then_some(())
    });
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    assert_eq!(keys, [""; 0]);
}

#[test]
fn a_proxy_that_buffers_is_found_by_headers_and_by_body() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[]);
    for (fault, seen) in [
        (Fault::HoldAll, "headers of a stream are held back"),
        (Fault::HoldBody, "no byte of the stream"),
    ] {
        let report = behind(&gateway, fault, &[]);
        assert_eq!(report.code, 1, "{report:#?}");
        report.has("gateway_first_byte", "problem", seen, "proxy_buffering off");
        report.has("gateway_identity", "ok", "", "");
        assert_eq!(report.status("gateway_replay"), "skipped");
    }
}

#[test]
fn a_proxy_that_cuts_quiet_streams_is_found_with_the_time_it_took() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[("SLUICE__STREAM__HEARTBEAT", "30s")]);
    let report = behind(&gateway, Fault::CutIdle(Duration::from_millis(500)), &[]);
    assert_eq!(report.code, 1, "{report:#?}");
    report.has(
        "gateway_quiet",
        "problem",
        "cut after 0.",
        "timeout server 1h",
    );
    assert_eq!(report.status("gateway_delivery"), "ok", "{report:#?}");
    let direct = doctor(&["--gateway", &gateway.url(), "--quiet-for", "1s"]);
    direct.has(
        "gateway_quiet",
        "note",
        "too short to see a heartbeat",
        "--quiet-for 20s",
    );
}

#[test]
fn a_proxy_that_delays_each_event_is_found() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[]);
    let report = behind(
        &gateway,
        Fault::Late("\ndata: ", Duration::from_millis(250)),
        &[],
    );
    assert_eq!(report.code, 0, "{report:#?}");
    report.has(
        "gateway_delivery",
        "warning",
        "holds each event back",
        "option http-no-delay",
    );
}

#[test]
fn changed_headers_and_compression_are_found_with_the_proxys_own_setting() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[]);
    let report = behind(
        &gateway,
        rewrite(&[
            ("no-cache, no-transform", "max-age=60"),
            ("x-accel-buffering: no", "server: nginx/1.22"),
        ]),
        &[],
    );
    report.has(
        "gateway_headers",
        "warning",
        "lost no-transform",
        "nginx: no proxy_hide_header",
    );
    report.has("gateway_proxy", "note", "nginx/1.22", "");
    let report = behind(
        &gateway,
        rewrite(&[("x-accel-buffering: no", "content-encoding: br")]),
        &[],
    );
    report.has("gateway_compression", "warning", "(br)", "gzip off");
    report.has(
        "gateway_headers",
        "note",
        "x-accel-buffering was taken off",
        "proxy_pass_header",
    );
}

#[test]
fn a_proxy_that_drops_last_event_id_is_found() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[]);
    let report = behind(
        &gateway,
        rewrite(&[("last-event-id:", "x-dropped-header:")]),
        &[],
    );
    assert_eq!(report.code, 1, "{report:#?}");
    report.has(
        "gateway_replay",
        "problem",
        "had not the event it missed",
        "Last-Event-ID",
    );
}

#[test]
fn cors_is_judged_as_a_browser_would() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[CORS]);
    let other = ["--origin", "https://other.example"];
    let plain = rewrite(&[]);
    behind(&gateway, plain.clone(), &other).has(
        "gateway_cors",
        "problem",
        "refused",
        "SLUICE__HTTP__CORS_ORIGINS=https://other.example",
    );
    let twice = "access-control-allow-origin: *\r\naccess-control-allow-origin:";
    let doubled = rewrite(&[("access-control-allow-origin:", twice)]);
    behind(&gateway, doubled, &["--origin", ORIGIN]).has(
        "gateway_cors",
        "problem",
        "twice",
        "only the gateway",
    );
    let unasked = rewrite(&[("access-control-allow-headers:", "x-other:")]);
    behind(&gateway, unasked, &["--origin", ORIGIN]).has(
        "gateway_cors",
        "problem",
        "does not allow authorization, last-event-id",
        "OPTIONS",
    );
    behind(&gateway, plain, &[]).has("gateway_cors", "skipped", "--origin", "");
}

#[test]
fn who_is_no_gateway_is_told_so() {
    let answers = [
        (
            reply("200 OK", "text/html", "<p>hello"),
            "no Sluice gateway",
            "public address",
        ),
        (
            reply("502 Bad Gateway", "text/html", "<p>no"),
            "does not reach the gateway",
            "upstream",
        ),
        (
            reply("403 Forbidden", "text/html", "<p>no"),
            "from something in front",
            "login",
        ),
        (
            reply("302 Found", "text/html", ""),
            "redirects",
            "address it leads to",
        ),
    ];
    for (answer, seen, advice) in answers {
        // The first connection only shows that something listens.
        let stranger = Responder::new(vec![answer.clone(), answer]);
        let report = doctor(&["--gateway", &stranger.url]);
        assert_eq!(report.code, 1, "{report:#?}");
        report.has("gateway_identity", "problem", seen, advice);
    }
    let hole = BlackHole::new();
    let report = doctor(&[
        "--gateway",
        &format!("http://{}", hole.address()),
        "--timeout",
        "300ms",
    ]);
    report.has(
        "gateway_reachable",
        "problem",
        "gives no HTTP answer",
        "public address",
    );
}

#[test]
fn a_missing_token_is_told_with_what_it_needs() {
    let redis = Redis::start();
    let settings = [
        ("SLUICE__AUTH__MODE", "jwt"),
        (
            "SLUICE__AUTH__JWT__SECRET",
            "a secret of at least thirty-two bytes",
        ),
    ];
    let gateway = Gateway::start(&redis, &settings);
    let report = doctor(&["--gateway", &gateway.url()]);
    assert_eq!(report.code, 1);
    report.has("gateway_access", "problem", "token_missing", "SLUICE_TOKEN");
    report.has("gateway_identity", "ok", "", "");
}

/// A gateway on another Redis, or under another prefix, publishes where nobody looks.
#[test]
fn a_gateway_on_another_redis_is_found() {
    let (redis, other) = (Redis::start(), Redis::start());
    let gateway = Gateway::start(&redis, &[]);
    let report = doctor(&[
        "--gateway",
        &gateway.url(),
        "--redis",
        &other.url(),
        "--quiet-for",
        "300ms",
    ]);
    assert_eq!(report.code, 1, "{report:#?}");
    report.has(
        "gateway_broker",
        "problem",
        "does not keep its events",
        "redis.prefix",
    );
}

/// Where HTTP may not publish, Redis does.
#[test]
fn events_go_in_by_redis_where_http_refuses_them() {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis, &[]);
    let refuse = rewrite(&[("POST /v1/channels/", "POST /v2/channels/")]);
    let report = behind(&gateway, refuse.clone(), &["--redis", &redis.url()]);
    report.has("gateway_publish", "note", "into Redis instead", "");
    for code in ["gateway_delivery", "gateway_replay", "gateway_broker"] {
        assert_eq!(report.status(code), "ok", "{report:#?}");
    }
    let report = behind(&gateway, refuse, &[]);
    report.has("gateway_publish", "skipped", "pass --redis", "");
    assert_eq!(report.status("gateway_replay"), "skipped");
}
