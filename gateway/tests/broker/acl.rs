//! The users of deploy/redis/users.acl: each may do what it needs, and nothing of what belongs to another.

use redis::{Connection, Value as Reply};
use serde_json::{Value, json};
use sluice_wire::keys::Keys;
use sluice_wire::publish::{Defaults, library, script};

use crate::harness::admin;
use crate::harness::http::call;
use crate::harness::node::{Node, id};
use crate::harness::redis_server::RedisServer;
use crate::harness::{CANARY, PATIENCE, find};

const USERS: &str = include_str!("../../../deploy/redis/users.acl");

/// A redis-server with the users of the file; the default user stays on, for the test itself.
struct Guarded {
    redis: RedisServer,
    _dir: tempfile::TempDir,
}

impl Guarded {
    fn start() -> Guarded {
        let lines: Vec<String> = USERS
            .lines()
            .map(|line| match line.strip_prefix("user default ") {
                Some("off") => "user default on nopass ~* &* +@all".to_owned(),
                Some(other) => panic!("the default user is {other}, not off"),
                None => line.replace(" resetpass ", " >secret "),
            })
            .collect();
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("users.acl");
        std::fs::write(&path, lines.join("\n")).expect("written");
        let path = path.to_str().expect("UTF-8");
        let redis = RedisServer::start_with(&["--aclfile", path]);
        Guarded { redis, _dir: dir }
    }

    fn url(&self, user: &str) -> String {
        self.redis
            .url()
            .replace("redis://", &format!("redis://{user}:secret@"))
    }

    fn login(&self, user: &str) -> Connection {
        let client = redis::Client::open(self.url(user)).expect("an address");
        client.get_connection().expect("the user may log in")
    }

    /// What Redis has denied to its users, as `ACL LOG` tells it.
    fn denied(&self) -> Vec<String> {
        let log: Vec<Reply> = self.redis.run(&["ACL", "LOG"]);
        let entries = log.iter().map(|entry| format!("{entry:?}"));
        entries.collect()
    }
}

/// Runs a command; whether the user may.
fn may(connection: &mut Connection, words: &[&str]) -> bool {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    match command.query::<Reply>(connection) {
        Ok(_) => true,
        // Whatever else Redis says of it, it was allowed to run.
        Err(error) => error.code() != Some("NOPERM"),
    }
}

/// A command of each kind, with the users who may run it: n(ode), N(ode that publishes), p(ublisher), o(perator).
const TABLE: &[(&str, &str)] = &[
    ("GET sluice:{a}:m", "nNpo"),
    ("GET sluice:{_ctl}:orders", "nNo"),
    ("SET sluice:{a}:m 1-0.00000001", "nNp"),
    ("SET sluice:{_ctl}:x 1", "nN"),
    ("SET sluice:{_ctl}:s 1", "nN"),
    ("SET elsewhere 1", ""),
    ("GET elsewhere", ""),
    ("SET sluice:{a}:i:ev 1", "Np"),
    ("DEL sluice:{a}:s", "nNpo"),
    ("DEL sluice:{_ctl}:orders", "nN"),
    ("XADD sluice:{a}:s * p x", "Np"),
    ("XADD sluice:{_x}:s * p x", ""),
    ("XRANGE sluice:{a}:s - +", "nNo"),
    ("PUBLISH sluice:{a} x", "Np"),
    ("PUBLISH sluice:{_ctl} x", "nN"),
    ("PUBLISH sluice:{_probe.1} x", "nN"),
    ("PUBLISH elsewhere x", ""),
    ("XADD sluice:{_canary.1}:s * p x", "nN"),
    ("SET sluice:{_canary.1}:m 1-0.00000001", "nN"),
    ("SET sluice:{_canary.1}:i:ev 1", ""),
    ("GET sluice:{_canary.1}:m", "nNo"),
    ("PUBLISH sluice:{_canary.1} x", "nN"),
    ("EVAL return(1) 1 sluice:{_canary.1}:s", "nN"),
    ("EVAL return(1) 2 sluice:{_canary.1}:s sluice:{a}:s", "N"),
    ("DEL sluice:{_canary.1}:s", "nN"),
    ("EVAL return(1) 1 sluice:{_ctl}:orders", "nN"),
    ("EVAL return(1) 1 sluice:{a}:s", "nNp"),
    ("EVAL return(1) 1 elsewhere", ""),
    ("EVAL_RO return(1) 1 sluice:{a}:s", "nNo"),
    ("FUNCTION LOAD x", "o"),
    ("FUNCTION LOAD REPLACE x", "o"),
    ("SLOWLOG GET", "o"),
    ("SLOWLOG RESET", ""),
    ("LATENCY RESET", ""),
    ("FUNCTION DELETE x", ""),
    ("FUNCTION FLUSH", ""),
    ("KEYS *", ""),
    ("SCAN 0", "o"),
    ("FLUSHALL", ""),
    ("FLUSHDB", ""),
    ("CONFIG GET maxmemory", "o"),
    ("CONFIG SET maxmemory 1gb", ""),
    ("ACL LIST", ""),
    ("ACL SETUSER x", ""),
    ("ACL LOG", "o"),
    ("CLIENT KILL TYPE pubsub", ""),
    ("CLIENT LIST", "o"),
    ("SHUTDOWN NOSAVE", ""),
    ("MONITOR", ""),
    ("SCRIPT FLUSH", ""),
    ("REPLICAOF NO ONE", ""),
    ("SAVE", ""),
    ("RENAME sluice:{a}:m sluice:{b}:m", ""),
    ("XTRIM sluice:{a}:s MAXLEN 0", ""),
    ("INFO server", "o"),
    ("TIME", "nNpo"),
    ("PING", "nNpo"),
    // Last: from here on the connection may only listen.
    ("PSUBSCRIBE *", ""),
    ("PSUBSCRIBE sluice:*", ""),
    ("SUBSCRIBE elsewhere", ""),
];

const SHORT: [(char, &str); 4] = [
    ('n', "sluice-node"),
    ('N', "sluice-node-publish"),
    ('p', "sluice-publisher"),
    ('o', "sluice-operator"),
];

#[test]
fn each_user_may_do_what_is_its_own_and_nothing_else() {
    let guarded = Guarded::start();
    let mut wrong = Vec::new();
    for (short, user) in SHORT {
        let mut connection = guarded.login(user);
        for (command, users) in TABLE {
            let words: Vec<&str> = command.split(' ').collect();
            let wanted = users.contains(short);
            if may(&mut connection, &words) != wanted {
                wrong.push(format!("{user}: `{command}`, wanted {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Topics are listened to one by one, by those who deliver them, and by no publisher.
#[test]
fn only_nodes_and_operators_listen() {
    let guarded = Guarded::start();
    for (short, user) in SHORT {
        let mut connection = guarded.login(user);
        for topic in ["sluice:{a}", "sluice:{_ctl}"] {
            let listens = may(&mut connection, &["SUBSCRIBE", topic]);
            assert_eq!(listens, short != 'p', "{user} {topic}");
        }
    }
}

/// Whoever forgets to give a password has users that nobody can use, not users that anybody can.
#[test]
fn the_file_as_it_is_lets_nobody_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("users.acl");
    let own = "user default on nopass ~* &* +@all\n";
    std::fs::write(&path, USERS.replace("user default off\n", own)).expect("written");
    let redis = RedisServer::start_with(&["--aclfile", path.to_str().expect("UTF-8")]);
    for (_, user) in SHORT {
        for password in ["", "secret", user] {
            let mut login = redis::cmd("AUTH");
            login.arg(user).arg(password);
            let answer = login.query::<()>(&mut redis.connect());
            let error = answer.expect_err("nobody knows its password");
            assert!(
                error.to_string().contains("invalid username-password"),
                "{error}"
            );
        }
    }
}

/// A publisher calls the scripts as they are shipped; a repeated event id is answered with its first position.
#[test]
fn a_publisher_publishes_in_each_form() {
    let guarded = Guarded::start();
    let node = Node::redis(&guarded.url("sluice-node"), QUICK).ready();
    let mut stream = node.stream("channel=a", &[]);
    let library = library(&Defaults::default());
    redis::cmd("FUNCTION")
        .arg(&["LOAD", &library])
        .exec(&mut guarded.login("sluice-operator"))
        .expect("the operator installs the library");
    let mut connection = guarded.login("sluice-publisher");
    let keys = Keys::default();
    let channel = "a".parse().expect("a name");
    let names = [keys.stream(&channel), keys.head(&channel)];
    let record = keys.idempotency(&channel, "ev-1");
    for (call, text) in [
        ("FCALL", "sluice_publish".to_owned()),
        ("EVAL", script(&Defaults::default())),
    ] {
        for record in [None, Some(&record)] {
            let mut command = redis::cmd(call);
            command.arg(&text).arg(2 + usize::from(record.is_some()));
            command.arg(&names).arg(record).arg("t").arg("x");
            let id: String = command.query(&mut connection).expect("published");
            if call == "FCALL" || record.is_none() {
                assert_eq!(stream.next().id(), id);
            }
        }
    }
}

/// The work of a node, all of it, without one denial: streams, history, tickets, places of subjects, orders that stand,
/// and its canary, which the node that may not publish has, too.
#[test]
fn nodes_work_without_a_denial() {
    let guarded = Guarded::start();
    let settings = [admin::SETTINGS, QUICK, CANARY].concat();
    let reading = Node::redis(&guarded.url("sluice-node"), &settings).ready();
    let publishing = Node::redis(&guarded.url("sluice-node-publish"), &settings).ready();
    let token = admin::bearer("42", &json!({}));
    let headers = [("Authorization", token.as_str())];
    let nodes = [&reading, &publishing];
    let mut streams = nodes.map(|node| node.stream("channel=a&channel=b", &headers));
    let id = id(&publishing.post("a", &headers, b"one"));
    for stream in &mut streams {
        assert_eq!(stream.next().data, "one");
    }
    for node in nodes {
        let page = node.get("/v1/channels/a/events?since=1h", &headers);
        assert!(page.status == 200 && page.body.contains(&id), "{page:?}");
        let poll = node.get("/v1/poll?channel=a&last=1", &headers);
        assert!(poll.status == 200 && poll.body.contains(&id), "{poll:?}");
        drop(node.stream(&format!("channel=c&last_event_id={id}"), &headers));
        let ticket = call(node.public, "POST", "/v1/tickets", &headers, b"");
        assert_eq!(ticket.status, 201, "{ticket:?}");
        let ticket: Value = serde_json::from_str(&ticket.body).expect("JSON");
        let ticket = ticket["ticket"].as_str().expect("a ticket");
        drop(node.stream(&format!("channel=a&ticket={ticket}"), &[]));
    }
    admin::commanded(&reading, "/admin/revoke", &json!({"sub": "42"}));
    for mut stream in streams {
        assert_eq!(stream.next().json()["reason"], "revoked");
    }
    for node in nodes {
        find("its canary is well", PATIENCE, || {
            (node.metric("sluice_canary_probes_total{outcome=\"ok\"}") >= 2.0).then_some(())
        });
        let failed = node.metric("sluice_canary_probes_total{outcome=\"publish_failed\"}");
        assert_eq!(failed, 0.0);
    }
    let denied = guarded.denied();
    assert!(denied.is_empty(), "{denied:#?}");
}

/// The node that may not publish says so to who wants to, and nothing is written.
#[test]
fn a_node_without_the_right_publishes_nothing() {
    let guarded = Guarded::start();
    let node = Node::redis(&guarded.url("sluice-node"), &[]).ready();
    assert_eq!(node.post("a", &[], b"no").status, 503);
    let kept: u64 = guarded.redis.run(&["XLEN", "sluice:{a}:s"]);
    assert_eq!(kept, 0);
}

/// Audits and reports often enough to be seen by the test.
const QUICK: &[(&str, &str)] = &[
    ("REDIS__AUDIT_INTERVAL", "100ms"),
    ("REDIS__FUNCTIONS", "never"),
    ("REDIS__REPORT_INTERVAL", "100ms"),
    ("LIMITS__CONNECTIONS_PER_SUBJECT", "10"),
    ("LIMITS__SUBJECT_LEASE", "500ms"),
];
