//! `sluice history` over a gateway: against a small server of the test's own that speaks the contract, and, where there
//! is one with the page, against the real gateway.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use crate::support::{
    Redis, Responder, Running, eventually, free_port, read_request, reply, run, sluice,
};

/// A gateway with one channel, `orders`, whose events are `p(1)`, `p(2)`, …, each with its number for data.
struct Pages {
    url: String,
    requests: mpsc::Receiver<String>,
}

fn p(n: u64) -> String {
    format!("{}-0.000000aa", 1000 + n)
}

/// The parameter of a target such as `/v1/…?last=3&limit=10`.
fn parameter<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let query = target.split_once('?')?.1;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

impl Pages {
    /// Kept are `kept` at the first request, and `grows` more at each later one; at most `most` events fit a page.
    fn start(kept: std::ops::RangeInclusive<u64>, grows: u64, most: u64) -> Pages {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::sync_channel(100);
        std::thread::spawn(move || {
            let (oldest, mut head) = kept.into_inner();
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream);
                let Some(request) = read_request(&mut reader) else {
                    return;
                };
                let answer = page(&request.line, oldest, head, most);
                head += grows;
                if sender.send(request.line).is_err()
                    || reader.get_mut().write_all(answer.as_bytes()).is_err()
                {
                    return;
                }
            }
        });
        Pages { url, requests }
    }

    fn history(&self, words: &[&str]) -> crate::support::Ran {
        let mut command = sluice(&[&["history", "orders"], words].concat());
        command.env("SLUICE_GATEWAY_URL", &self.url);
        run(command)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

/// The answer to one request, after the contract.
fn page(line: &str, oldest: u64, head: u64, most: u64) -> String {
    let limit: u64 = parameter(line, "limit").map_or(100, |limit| limit.parse().unwrap());
    let asked = parameter(line, "last_event_id");
    let after = match (asked, parameter(line, "last")) {
        (Some(place), _) => (oldest - 1..=head).find(|n| p(*n) == place),
        (None, Some(last)) => Some(head - last.parse::<u64>().unwrap()),
        (None, None) => Some(oldest - 1),
    };
    let reset = match after {
        Some(_) => String::new(),
        None => format!(
            ",\"reset\":{{\"channel\":\"orders\",\"reason\":\"trimmed\",\"from\":\"{}\",\"to\":\"{}\"}}",
            asked.unwrap(),
            p(oldest - 1)
        ),
    };
    let first = after.unwrap_or(oldest - 1) + 1;
    let last = head.min(first + limit.min(most) - 1);
    let events: Vec<String> = (first..=last)
        .map(|n| {
            format!(
                "{{\"channel\":\"orders\",\"id\":\"{}\",\"type\":\"t\",\"event_id\":null,\"data\":\"{n}\"}}",
                p(n)
            )
        })
        .collect();
    let body = format!(
        "{{\"channel\":\"orders\",\"events\":[{}],\"cursor\":\"{}\",\"head\":\"{}\",\"more\":{}{reset}}}",
        events.join(","),
        p(last.max(first - 1)),
        p(head),
        last < head,
    );
    reply("200 OK", "application/json", &body)
}

fn lines(numbers: std::ops::RangeInclusive<u64>) -> String {
    numbers.map(|n| format!("{}\tt\t{n}\n", p(n))).collect()
}

#[test]
fn pages_are_followed_to_the_end() {
    let gateway = Pages::start(1..=25, 0, 10);
    let ran = gateway.history(&[]);
    assert_eq!(
        (ran.code, ran.stdout, ran.stderr.as_str()),
        (0, lines(1..=25), "")
    );
    let path = "GET /v1/channels/orders/events";
    assert_eq!(
        gateway.requests(),
        [
            format!("{path}?limit=1000"),
            format!("{path}?last_event_id={}&limit=1000", p(10)),
            format!("{path}?last_event_id={}&limit=1000", p(20)),
        ]
    );
    for (words, first, query) in [
        (
            &["--from", &p(22)][..],
            23,
            format!("last_event_id={}", p(22)),
        ),
        (&["--last", "2"], 24, "last=2".into()),
    ] {
        let ran = gateway.history(words);
        assert_eq!((ran.code, ran.stdout), (0, lines(first..=25)));
        assert_eq!(gateway.requests(), [format!("{path}?{query}&limit=1000")]);
    }
    for (since, query) in [
        ("1500ms", "PT1.500S"),
        ("2025-11-21T05:00:00+07:00", "2025-11-20T22%3A00%3A00.000Z"),
    ] {
        assert_eq!(gateway.history(&["--since", since]).code, 0);
        assert_eq!(
            gateway.requests()[0],
            format!("{path}?since={query}&limit=1000")
        );
    }
}

#[test]
fn a_limit_is_asked_for_and_what_is_left_is_told() {
    let gateway = Pages::start(1..=25, 0, 10);
    let ran = gateway.history(&["--limit", "12", "--json"]);
    assert_eq!((ran.code, ran.lines().len()), (0, 12));
    assert_eq!(
        ran.stderr,
        format!(
            "{{\"more\":{{\"channel\":\"orders\",\"cursor\":\"{}\"}}}}\n",
            p(12)
        )
    );
    assert_eq!(
        ran.lines()[0],
        format!(
            "{{\"channel\":\"orders\",\"id\":\"{}\",\"type\":\"t\",\"event_id\":null,\"data\":\"1\"}}",
            p(1)
        )
    );
    let asked: Vec<_> = gateway
        .requests()
        .iter()
        .map(|line| parameter(line, "limit").unwrap().to_owned())
        .collect();
    assert_eq!(asked, ["12", "2"]);
    let ran = gateway.history(&["--from", &p(12), "--limit", "13"]);
    assert_eq!((ran.stdout, ran.stderr.as_str()), (lines(13..=25), ""));
}

/// A channel that is published to faster than it is read still has an end: where it stood at first.
#[test]
fn it_ends_where_the_channel_stood_at_first() {
    let gateway = Pages::start(1..=25, 20, 10);
    let ran = gateway.history(&[]);
    assert_eq!((ran.code, ran.stdout), (0, lines(1..=25)));

    // Where that very event is no longer kept, the next one tells.
    let event = |n: u64| format!("{{\"id\":\"{}\",\"data\":\"{n}\"}}", p(n));
    let body = format!(
        "{{\"events\":[{},{}],\"cursor\":\"{}\",\"head\":\"{}\",\"more\":false}}",
        event(1),
        event(3),
        p(3),
        p(2)
    );
    let gateway = Responder::new(vec![reply("200 OK", "application/json", &body)]);
    let ran = run(gateway.sluice(&["history", "orders"]));
    assert_eq!((ran.code, ran.stdout), (0, format!("{}\t-\t1\n", p(1))));
}

#[test]
fn a_reset_is_told_and_the_kept_events_come() {
    let gateway = Pages::start(20..=25, 0, 10);
    let ran = gateway.history(&["--from", &p(3)]);
    assert_eq!((ran.code, ran.stdout), (0, lines(20..=25)));
    assert_eq!(
        ran.stderr,
        format!(
            "reset: orders: trimmed (from {} to {}): events may be missing\n",
            p(3),
            p(19)
        )
    );
}

#[test]
fn what_is_no_page_ends_it_with_words() {
    let empty =
        "{\"channel\":\"orders\",\"events\":[],\"cursor\":null,\"head\":null,\"more\":false}";
    let stuck = format!(
        "{{\"channel\":\"orders\",\"events\":[],\"cursor\":\"{0}\",\"head\":\"{1}\",\"more\":true}}",
        p(3),
        p(9)
    );
    let json = |body: &str| reply("200 OK", "application/json", body);
    let problem = |status: &str, code: &str| {
        let body = format!("{{\"code\":\"{code}\",\"detail\":\"words\"}}");
        reply(status, "application/problem+json", &body)
    };
    let gateway = Responder::new(vec![
        json(empty),
        json("[1]"),
        json(&stuck.replace("1009-0", "x")),
        json(&stuck),
        json(&stuck),
        problem("405 Method Not Allowed", "method_not_allowed"),
        problem("403 Forbidden", "insufficient_scope"),
        problem("503 Service Unavailable", "broker_unavailable"),
    ]);
    let mut told = String::new();
    let mut codes = Vec::new();
    for _ in 0..7 {
        let ran = run(gateway.sluice(&["history", "orders"]));
        assert_eq!(ran.stdout, "");
        codes.push(ran.code);
        told += &ran.stderr;
    }
    assert_eq!(codes, [0, 1, 1, 1, 1, 1, 4]);
    insta::assert_snapshot!(told.replace(&gateway.url["http://".len()..], "ADDRESS"), @"
    error: the gateway at ADDRESS answered with no page of a history: invalid type: integer `1`, expected a sequence at line 1 column 2
    hint: is --gateway the address of a Sluice gateway?
    error: the gateway at ADDRESS answered with no page of a history: a place that is no position
    hint: is --gateway the address of a Sluice gateway?
    error: the gateway at ADDRESS answered with no page of a history: a page that says there is more, but not where
    hint: is --gateway the address of a Sluice gateway?
    error: the gateway at ADDRESS is older than the history page
    hint: read Redis itself, with --redis
    error: 403 insufficient_scope: words
    hint: the token's claim `sluice` must allow this channel
    error: 503 broker_unavailable: words
    hint: the gateway is there; try again in a moment
    ");
}

/// Over Redis and over the gateway the same command prints the same bytes.
#[test]
fn the_real_gateway_shows_what_redis_has() {
    let redis = Redis::start();
    let positions: Vec<_> = (1..=30)
        .map(|n| redis.publish("orders", &format!("{n}\n")))
        .collect();
    let (http, admin) = (free_port(), free_port());
    let binary =
        std::path::Path::new(env!("CARGO_BIN_EXE_sluice")).with_file_name("sluice-gateway");
    let mut gateway = std::process::Command::new(binary);
    gateway
        .env_clear()
        .env("SLUICE__AUTH__MODE", "anonymous")
        .env("SLUICE__REDIS__URL", redis.url())
        .env("SLUICE__HTTP__BIND", format!("127.0.0.1:{http}"))
        .env("SLUICE__ADMIN__BIND", format!("127.0.0.1:{admin}"));
    let _gateway = Running::start(gateway);
    let url = format!("http://127.0.0.1:{http}");
    eventually("the gateway", || {
        let ran = run(sluice(&[
            "history",
            "orders",
            "--limit",
            "1",
            "--gateway",
            &url,
        ]));
        (ran.code != 4).then_some(())
    });
    let _: i64 = redis.command(&["XTRIM", "sluice:{orders}:s", "MAXLEN", "20"]);
    for words in [
        &[][..],
        &["--json"],
        &["--last", "7"],
        &["--since", "1h"],
        &["--limit", "5"],
        &["--from", &positions[14]],
        &["--from", &positions[14], "--limit", "3"],
        &["--from", &positions[29]],
        // No longer kept: a reset, with the same words.
        &["--from", &positions[3]],
    ] {
        let over_redis = run(redis.sluice(&[&["history", "orders"], words].concat()));
        let over_gateway = run(sluice(
            &[&["history", "orders", "--gateway", &url], words].concat(),
        ));
        assert_eq!(
            (over_gateway.code, over_gateway.stdout, over_gateway.stderr),
            (over_redis.code, over_redis.stdout, over_redis.stderr),
            "{words:?}"
        );
    }
}
