//! What the script does to Redis: order of commands, keys, times to live, permissions, forms of the call, cost.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use sluice_wire::{
    Channel, Defaults, Publish, Refusal,
    publish::{
        FUNCTION_ENSURE_HEAD, FUNCTION_PUBLISH, FUNCTION_VERSION, LIBRARY_VERSION,
        ensure_head_script, needs_install, parse_reply, script,
    },
};

use crate::{
    TRACEPARENT,
    support::script::{
        Form, Redis, call, command, in_each_form, in_each_form_with, next_message, subscribe,
    },
};

#[test]
fn the_message_is_the_stored_event_and_comes_last() {
    in_each_form(|redis| {
        let mut listener = redis.server.connect();
        let topic = redis.keys.topic(&redis.channel);
        let mut subscription = subscribe(&mut listener, &topic);
        let mut monitor = Monitor::start(redis.server.port);
        let channel = redis.channel.clone();
        let publish = Publish {
            event_type: Some("đơn.hàng"),
            event_id: Some("a b/%=é\u{1f980}"),
            traceparent: Some(TRACEPARENT),
            ..Publish::new(&channel, "a\r\nb\0\u{feff}\n".as_bytes())
        };
        let position = redis.publish(&publish).expect("published");
        let message = next_message(&mut subscription);
        let stored = redis.events().remove(0);
        assert_eq!(message, stored.encode());
        assert_eq!(stored.position, position);
        assert_eq!(stored.event_type.as_deref(), publish.event_type);
        assert_eq!(stored.event_id.as_deref(), publish.event_id);
        let traceparent = stored.traceparent.map(|context| context.to_string());
        assert_eq!(traceparent.as_deref(), publish.traceparent);
        assert_eq!(stored.data, publish.data);
        let commands = monitor.script_commands_until("PUBLISH");
        let order = [
            "GET", "TIME", "SET", "DEL", "XADD", "PEXPIRE", "SET", "PUBLISH",
        ];
        assert_eq!(
            commands, order,
            "a new chain: reads, then writes, then the message"
        );
    });
}

#[test]
fn the_stream_is_trimmed_to_about_maxlen() {
    in_each_form_with(
        Defaults::default(),
        &["--stream-node-max-entries", "10"],
        |redis| {
            let channel = redis.channel.clone();
            for _ in 0..100 {
                redis
                    .publish(&Publish {
                        maxlen: Some(20),
                        ..Publish::new(&channel, b"x")
                    })
                    .expect("published");
            }
            let events = redis.events();
            assert!(
                (20..=30).contains(&events.len()),
                "{} events kept",
                events.len()
            );
            assert!(
                events
                    .windows(2)
                    .all(|pair| pair[1].prev == pair[0].position)
            );
        },
    );
}

#[test]
fn every_key_has_its_time_to_live() {
    let (minute, hour, day) = (
        Duration::from_secs(60),
        Duration::from_secs(3600),
        Duration::from_secs(86_400),
    );
    let near = |found: Duration, expected: Duration| {
        assert!(
            found <= expected && found + minute / 2 > expected,
            "{found:?} is not just below {expected:?}"
        );
    };
    in_each_form(|redis| {
        let (stream, head, record) = (
            redis.stream_key(),
            redis.head_key(),
            redis.keys.idempotency(&redis.channel, "ev-1"),
        );
        redis.append_once("ev-1", "x").expect("published");
        near(redis.ttl(&stream), hour);
        near(redis.ttl(&head), day * 30);
        near(redis.ttl(&record), minute * 5);
        let channel = redis.channel.clone();
        let given = Publish {
            event_id: Some("ev-2"),
            ttl: Some(minute * 2),
            idem_ttl: Some(minute),
            ..Publish::new(&channel, b"x")
        };
        redis.publish(&given).expect("published");
        let record = redis.keys.idempotency(&redis.channel, "ev-2");
        near(redis.ttl(&stream), minute * 2);
        near(redis.ttl(&head), day * 30);
        near(redis.ttl(&record), minute);
        redis
            .publish(&Publish {
                ttl: Some(day * 60),
                ..given
            })
            .expect("repeated");
        near(redis.ttl(&stream), minute * 2);
        redis
            .publish(&Publish {
                ttl: Some(day * 60),
                event_id: None,
                ..given
            })
            .expect("published");
        near(redis.ttl(&head), day * 60);
    });
}

#[test]
fn only_declared_keys_are_touched() {
    in_each_form(|redis| {
        let record = redis.keys.idempotency(&redis.channel, "ev-1");
        let topic = redis.keys.topic(&redis.channel);
        let keys = [redis.stream_key(), redis.head_key(), record].map(|key| format!("~{key}"));
        let commands = "+eval +evalsha +fcall +get +set +del +time +xadd +pexpire +pttl +publish";
        let mut words = vec!["ACL", "SETUSER", "publisher", "reset", "on", ">secret"];
        words.extend(keys.iter().map(String::as_str));
        let topic = format!("&{topic}");
        words.push(&topic);
        words.extend(commands.split(' '));
        redis.run::<()>(&words);
        redis.run::<()>(&["AUTH", "publisher", "secret"]);
        redis
            .append_once("ev-1", "x")
            .expect("published with exactly the declared keys");
        redis.append_once("ev-1", "x").expect("repeated");
        redis.ensure_head();
        let error = command(&["GET", "sluice:{other}:m"])
            .query::<()>(&mut redis.connection)
            .expect_err("refused");
        assert!(
            error.to_string().contains("NoPerm"),
            "the limits are in force: {error}"
        );
        redis.connection = redis.server.connect();
        redis.run::<()>(&["ACL", "DELUSER", "publisher"]);
    });
}

#[test]
fn on_a_cluster_events_are_published_to_shards() {
    let defaults = Defaults {
        sharded: true,
        ..Defaults::default()
    };
    let options = [
        "--cluster-enabled",
        "yes",
        "--cluster-require-full-coverage",
        "no",
    ];
    in_each_form_with(defaults, &options, |redis| {
        command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
            .query::<()>(&mut redis.connection)
            .ok();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !redis
            .run::<String>(&["CLUSTER", "INFO"])
            .contains("cluster_state:ok")
        {
            assert!(Instant::now() < deadline, "the cluster is up");
            std::thread::yield_now();
        }
        let topic = redis.keys.topic(&redis.channel);
        let mut subscriber = RawConnection::open(redis.server.port);
        subscriber.send(&format!("SSUBSCRIBE {topic}"));
        subscriber.read_until(":1");
        let first = redis.append_once("ev-1", "x").expect("published");
        assert_eq!(redis.append_once("ev-1", "x"), Ok(first));
        let genesis = redis.head().expect("a head").genesis;
        subscriber.read_until(&format!("sluice/1 {first} {genesis} i=ev-1"));
    });
}

#[test]
fn evalsha_falls_back_to_eval() {
    let mut redis = Redis::start(Defaults::default(), &[]);
    redis.run::<()>(&["SCRIPT", "FLUSH"]);
    let (text, keys) = (
        script(&redis.defaults),
        [redis.stream_key(), redis.head_key()],
    );
    let args = [b"t".to_vec(), b"x".to_vec()];
    let mut run = |form| {
        call(form, &text, FUNCTION_PUBLISH, &keys, &args).query::<Vec<u8>>(&mut redis.connection)
    };
    let error = run(Form::Evalsha).expect_err("not cached");
    assert_eq!(error.code(), Some("NOSCRIPT"));
    run(Form::Eval).expect("published");
    let reply = run(Form::Evalsha).expect("EVAL leaves the script in the cache");
    assert!(parse_reply(&reply).is_ok());
    assert_eq!(redis.events().len(), 2);
}

#[test]
fn the_library_tells_its_version_without_writing() {
    let mut redis = Redis::start(Defaults::default(), &[]);
    let found: i64 = redis.run(&["FCALL_RO", FUNCTION_VERSION, "0"]);
    assert_eq!(found, i64::from(LIBRARY_VERSION));
    assert!(!needs_install(Some(found)));
    redis.run::<()>(&["FUNCTION", "FLUSH"]);
    let error = command(&["FCALL_RO", FUNCTION_VERSION, "0"])
        .query::<i64>(&mut redis.connection)
        .expect_err("absent");
    assert!(error.to_string().contains("Function not found"), "{error}");
}

#[test]
fn redis_own_errors_are_not_taken_for_refusals() {
    in_each_form(|redis| {
        let keys = [redis.stream_key(), redis.head_key()];
        let args = [b"t".to_vec(), b"x".to_vec()];
        redis.append("one");
        redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        let text = script(&redis.defaults);
        let error = call(redis.form, &text, FUNCTION_PUBLISH, &keys, &args)
            .query::<()>(&mut redis.connection);
        redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        let error = error.expect_err("out of memory");
        assert_eq!(error.code(), Some("OOM"));
        assert_eq!(Refusal::from_redis_error(&error.to_string()), None);
        assert_eq!(redis.events().len(), 1, "nothing was written");
    });
}

/// Redis checks its memory before a script's first write only, and never for one that frees memory.
#[test]
fn a_chain_does_not_begin_while_memory_is_full() {
    in_each_form(|redis| {
        let publish = [b"t".to_vec(), b"x".to_vec()];
        for stale in [false, true] {
            if stale {
                redis.append("stale");
                redis.run::<()>(&["DEL", &redis.head_key()]);
            }
            let before = redis.all_keys();
            redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
            let keys = [redis.stream_key(), redis.head_key()];
            for (text, function, args) in [
                (script(&redis.defaults), FUNCTION_PUBLISH, &publish[..]),
                (
                    ensure_head_script(&redis.defaults),
                    FUNCTION_ENSURE_HEAD,
                    &[],
                ),
            ] {
                let result = call(redis.form, &text, function, &keys, args)
                    .query::<()>(&mut redis.connection);
                let error = result.expect_err("out of memory");
                assert_eq!(error.code(), Some("OOM"), "{function}: {error}");
                assert_eq!(redis.all_keys(), before, "{function} has written");
            }
            redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        }
        redis.append("x");
        assert_eq!(redis.events().len(), 1, "what was stale is gone");
    });
}

#[test]
fn the_most_text_is_validated_in_a_few_milliseconds() {
    let mut redis = Redis::start(Defaults::default(), &[]);
    let channel = Channel::parse("big").expect("valid");
    for sample in ["a", "é", "đơn hàng ", "日本語", "🦀", "a\u{301}b日🦀 "] {
        let data = sample.repeat(65_536 / sample.len());
        redis.run::<()>(&["CONFIG", "RESETSTAT"]);
        for _ in 0..20 {
            redis
                .publish(&Publish::new(&channel, data.as_bytes()))
                .expect("published");
        }
        let stats: String = redis.run(&["INFO", "commandstats"]);
        let eval = stats
            .lines()
            .find(|line| line.starts_with("cmdstat_eval:"))
            .expect("EVAL's statistics");
        let micros: f64 = eval
            .split("usec_per_call=")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .expect("a number")
            .parse()
            .expect("a number");
        eprintln!("64 KiB of {sample:?}: {micros} µs");
        assert!(
            micros < 30_000.0,
            "64 KiB of {sample:?} took Redis {micros} µs"
        );
    }
}

/// A connection without a client library, for what the library does not offer blocking.
struct RawConnection {
    lines: BufReader<TcpStream>,
}

impl RawConnection {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("redis-server answers");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        Self {
            lines: BufReader::new(stream),
        }
    }

    fn send(&mut self, command: &str) {
        write!(self.lines.get_mut(), "{command}\r\n").expect("sent");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let bytes = self
            .lines
            .read_line(&mut line)
            .expect("a line before the timeout");
        assert!(bytes > 0, "Redis closed the connection");
        line.trim_end().to_owned()
    }

    fn read_until(&mut self, expected: &str) {
        while self.line() != expected {}
    }
}

/// `MONITOR`: every command in the order in which Redis runs it.
struct Monitor(RawConnection);

impl Monitor {
    fn start(port: u16) -> Self {
        let mut connection = RawConnection::open(port);
        connection.send("MONITOR");
        connection.read_until("+OK");
        Self(connection)
    }

    /// The names of the commands that scripts ran, up to and with the first `last`.
    fn script_commands_until(&mut self, last: &str) -> Vec<String> {
        let mut names = Vec::new();
        while names.last().map(String::as_str) != Some(last) {
            let line = self.0.line();
            if let Some((_, command)) = line.split_once(" lua] ") {
                names.push(command.split('"').nth(1).expect("a quoted name").to_owned());
            }
        }
        names
    }
}
