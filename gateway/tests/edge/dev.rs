//! What `--dev` adds: the demo page, and streams that are cut so that people see them resume.

use std::io::{Read, Write};

use rstest::rstest;
use serde_json::json;

use crate::harness::http::{Answer, Events, call, connect, request};
use crate::harness::node::Node;
use crate::harness::{PATIENCE, find, wait};

/// The node's name, as every stream is told.
fn name(stream: &Events) -> String {
    let open = stream.opened.as_ref().expect("it was opened").json();
    open["node"].as_str().expect("a name").to_owned()
}

fn cut(node: &Node, body: &str) -> Answer {
    call(node.public, "POST", "/dev/cut", &[], body.as_bytes())
}

/// Every stream of the node ends without its last chunk, is counted, and goes on exactly where it was cut.
#[test]
fn streams_that_were_cut_resume_exactly() {
    let node = Node::dev(&[("HTTP__WORKERS", "2")]).ready();
    let mut streams: Vec<Events> = (0..8).map(|_| node.stream("channel=a", &[])).collect();
    node.publish("a", "before");
    let cursors: Vec<String> = streams
        .iter_mut()
        .map(|stream| stream.next().id().to_owned())
        .collect();
    let answer = cut(&node, &json!({ "node": name(&streams[0]) }).to_string());
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"cut":8}"#));
    for stream in &mut streams {
        // Nothing was said before the end, and the chunked body has none.
        assert_eq!(stream.next_within(PATIENCE), None);
    }
    node.publish("a", "meanwhile");
    node.publish("a", "meanwhile, too");
    for cursor in &cursors {
        let mut stream = node.stream("channel=a", &[("Last-Event-ID", cursor)]);
        let open = stream.opened.take().expect("it was opened");
        assert_eq!(open.json()["channels"]["a"], "resumed");
        assert_eq!(stream.data(2), ["meanwhile", "meanwhile, too"]);
    }
    wait("the cut ones are gone", &0.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
}

/// A client's connection is reset, as by a failing network, and not just closed.
#[test]
fn a_cut_is_a_reset() {
    let node = Node::dev(&[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    let answer = cut(&node, &json!({ "node": name(&stream) }).to_string());
    assert_eq!(answer.body, r#"{"cut":1}"#);
    assert_eq!(stream.next_within(PATIENCE), None);
    // The kernel keeps it as the socket's error; after a FIN alone there would be none.
    find("the reset arrives", PATIENCE, || {
        stream.socket.take_error().expect("its state")
    });
}

/// Behind a load balancer the order may reach a node that is not meant: it says so and cuts nothing.
#[test]
fn an_order_for_another_node_cuts_nothing() {
    let node = Node::dev(&[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    let answer = cut(&node, r#"{"node":"somebody-else:1"}"#);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (421, "misdirected")
    );
    let problem: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(problem["value"], "somebody-else:1");
    let detail = problem["detail"].as_str().expect("a text");
    assert!(detail.contains(&name(&stream)), "{detail}");
    node.publish("a", "still here");
    assert_eq!(stream.next().data, "still here");
}

/// A browser keeps its connection, and a load balancer of connections would hand every repetition to the same node.
#[test]
fn after_a_misdirected_order_the_connection_is_closed() {
    let node = Node::dev(&[]).ready();
    let mut socket = connect(node.public).expect("connected");
    let order = br#"{"node":"somebody-else:1"}"#;
    socket
        .write_all(&request("POST", "/dev/cut", &[], order))
        .expect("sent");
    let mut answer = String::new();
    socket
        .read_to_string(&mut answer)
        .expect("an end of the connection");
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[rstest]
#[case::empty("", 400, "bad_body")]
#[case::no_json("node", 400, "bad_body")]
#[case::no_name("{}", 400, "bad_body")]
#[case::no_text(r#"{"node":1}"#, 400, "bad_body")]
#[case::unknown_member(r#"{"node":"x","all":true}"#, 400, "bad_body")]
fn an_order_that_cannot_be_read_cuts_nothing(
    #[case] body: &str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let node = Node::dev(&[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    let answer = cut(&node, body);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (status, code),
        "{answer:?}"
    );
    node.publish("a", "still here");
    assert_eq!(stream.next().data, "still here");
}

/// A page of another origin cannot cut anybody's streams.
#[test]
fn an_order_from_a_foreign_page_cuts_nothing() {
    let node = Node::dev(&[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    let body = json!({ "node": name(&stream) }).to_string();
    let evil = [("Origin", "https://evil.example")];
    let answer = call(node.public, "POST", "/dev/cut", &evil, body.as_bytes());
    assert_eq!(answer.status, 403);
    node.publish("a", "still here");
    assert_eq!(stream.next().data, "still here");
}

/// In production there is no page and nothing to cut with.
#[rstest]
#[case("GET", "/")]
#[case("GET", "/dev/page/demo.js")]
#[case("POST", "/dev/cut")]
fn without_dev_there_is_none_of_it(#[case] method: &str, #[case] path: &str) {
    let node = Node::embedded(&[]).ready();
    let mut stream = node.stream("channel=a", &[]);
    let body = json!({ "node": name(&stream) }).to_string();
    let answer = call(node.public, method, path, &[], body.as_bytes());
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (404, "not_found")
    );
    node.publish("a", "still here");
    assert_eq!(stream.next().data, "still here");
}

/// The page and each file it names come with their media type, under a policy that lets nothing inline run.
#[test]
fn the_page_is_served_with_its_files_and_a_strict_policy() {
    let node = Node::dev(&[]).ready();
    let page = node.get("/", &[]);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let named = page.body.split("\"dev/page/").skip(1);
    let mut files: Vec<&str> = named.filter_map(|rest| rest.split('"').next()).collect();
    files.push("link.js");
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        let answer = node.get(&format!("/dev/page/{file}"), &[]);
        let wanted = match file.rsplit_once('.') {
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => panic!("no media type for {file}"),
        };
        assert_eq!(answer.status, 200, "{file}");
        assert_eq!(answer.header("content-type"), Some(wanted), "{file}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{file}");
        assert!(!answer.body.is_empty(), "{file}");
    }
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let answer = node.get("/dev/page/nothing.js", &[]);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (404, "not_found")
    );
    // The way out of the folder leads nowhere.
    assert_eq!(node.get("/dev/page/..%2Fpage.rs", &[]).status, 404);
}

/// A stream that its client has left by then is not counted, and an order without streams is no error.
#[test]
fn an_order_without_streams_cuts_none() {
    let node = Node::dev(&[]).ready();
    let stream = node.stream("channel=a", &[]);
    let name = name(&stream);
    drop(stream);
    wait("it is gone", &0.0, PATIENCE, || {
        node.metric("sluice_connections")
    });
    let body = json!({ "node": name }).to_string();
    assert_eq!(cut(&node, &body).body, r#"{"cut":0}"#);
}
