//! An answer is read whole however its bytes are cut, and what is no answer is refused.

use rstest::rstest;

use super::*;

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\ncache-control: no-cache\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn event(name: &str, data: &str) -> Event {
    Event {
        name: name.to_owned(),
        data: data.to_owned(),
    }
}

/// All events of the bytes, which come in pieces of this size, and how they stop.
fn read(bytes: &str, piece: usize) -> (Vec<Event>, Option<Stop>, Option<String>) {
    let (mut reader, mut events) = (Reader::new(), Vec::new());
    for piece in bytes.as_bytes().chunks(piece) {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(stop) => return (events, Some(stop), reader.cursor().map(str::to_owned)),
            }
        }
    }
    (events, None, reader.cursor().map(str::to_owned))
}

#[test]
fn an_answer_is_read_whole_however_it_is_cut() {
    let answer = [
        HEAD,
        &chunk(":\n"),
        &chunk("event: sluice.open\nid: 1-0.00000001\nretry: 9\ndata: {}\n\n"),
        &chunk("id: 2-0.00000002\nda"),
        &chunk("ta: one\n\n:\nid: 3-0.00000003\nevent: t\ndata: two\n\nid: 4-0"),
    ]
    .concat();
    let events = vec![
        event("sluice.open", "{}"),
        event("", "one"),
        event("t", "two"),
    ];
    for piece in [1, 2, 3, 7, answer.len()] {
        let (read, stop, cursor) = read(&answer, piece);
        assert_eq!((read, stop), (events.clone(), None));
        assert_eq!(
            cursor.as_deref(),
            Some("3-0.00000003"),
            "only whole events count"
        );
    }
    let (read, stop, _) = read(&(answer + "0\r\n\r\n"), 5);
    assert_eq!((read.len(), stop), (3, Some(Stop::Over)));
}

#[rstest]
#[case::status("HTTP/1.1 401 Unauthorized\r\nx: y\r\n\r\n", Stop::Status("401 Unauthorized".to_owned()))]
#[case::other_protocol("SSH-2.0\r\n\r\n", Stop::Malformed("no status"))]
#[case::not_chunked(
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n:\n",
    Stop::Malformed("no chunks")
)]
#[case::bad_size(&format!("{HEAD}x\r\n"), Stop::Malformed("no size of a chunk"))]
#[case::bad_end(&format!("{HEAD}2\r\n:\nxx"), Stop::Malformed("no end of a chunk"))]
#[case::endless_head(&"x".repeat(LINE_MAX_BYTES + 1), Stop::Malformed("no head"))]
#[case::endless_line(&format!("{HEAD}ffff\r\n{}", "x".repeat(LINE_MAX_BYTES + 1)), Stop::Malformed("a line without an end"))]
fn what_is_no_answer_is_refused(#[case] bytes: &str, #[case] wanted: Stop) {
    assert_eq!(read(bytes, 1_000).1, Some(wanted));
}
