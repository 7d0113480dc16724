//! Answers to questions: written ones, found by the words of the question, and spoken word by word as a model would.

use std::time::Duration;

use sluice_wire::{Channel, Position};
use tokio::time::sleep;

use super::contract::{Done, Token};
use super::outbox::Outbox;
use crate::failure::Failure;

/// Between two words: 15 to 40 of them a second.
const BETWEEN_WORDS_MS: std::ops::RangeInclusive<u64> = 25..=66;
/// A question is read as far as this.
const READ_CHARS: usize = 2000;

/// Words of a question, in lower case and as they begin, and the answer to it.
const WRITTEN: [(&[&str], &str); 9] = [
    (
        &[
            "resum",
            "reconnect",
            "disconnect",
            "offline",
            "miss",
            "cut",
            "lose",
            "lost",
            "gap",
        ],
        "When a connection breaks, the browser reconnects by itself and sends the id of the last event it has seen. Any node \
         takes it: it looks the place up in the channel's history in Redis, sends what was missed, in order, and then goes on \
         live. Every event names the one before it, so the node can prove that nothing is left out. Where it cannot, it says \
         so with a sluice.reset and never skips in silence. Try it: cut the streams on this page and watch the numbers.",
    ),
    (
        &[
            "what is sluice",
            "sluice do",
            "about sluice",
            "who are you",
            "explain sluice",
        ],
        "Sluice is a gateway for Server-Sent Events. Your services publish an event with one call to Redis, and any number \
         of gateway nodes stream it to the browsers that listen. The nodes keep no state of their own, so you add and remove \
         them as you like, and a browser that comes back continues on any of them exactly where it stopped.",
    ),
    (
        &["sse", "server-sent", "eventsource", "websocket", "polling"],
        "Server-Sent Events are one long HTTP response: a line of text per event, read by the browser's own EventSource, which \
         reconnects and resumes without a line of your code. They pass proxies, share one HTTP/2 connection with your other \
         requests, and need no protocol of their own. A WebSocket pays off when the browser has to send as much as it reads. \
         For what flows to the page, and this answer is an example, a stream of events is all you need.",
    ),
    (
        &[
            "token",
            "model",
            "llm",
            "stream of words",
            "typing",
            "answer",
            "chat",
            "gpt",
        ],
        "Each word of this answer is an event on a channel made for your question alone. The backend publishes the words as \
         they come and closes with an event called done. If your connection breaks in the middle, the words that you missed \
         come first when you are back, so nobody has to ask again and no word is paid for twice. I am no model, by the way: \
         a few written answers and some patience.",
    ),
    (
        &[
            "scale",
            "node",
            "many",
            "grow",
            "cluster",
            "load",
            "connections",
            "fast",
            "perform",
            "latency",
        ],
        "Nodes share nothing but Redis, so twice the nodes carry twice the listeners. A node subscribes to a channel once, \
         however many browsers listen, encodes each event once, and hands the same bytes to all of them. A browser that reads \
         too slowly is closed alone and resumes later; it holds up nobody else.",
    ),
    (
        &["redis", "history", "store", "persist", "keep", "stream"],
        "Events live in Redis Streams: about a thousand per channel, for an hour after the last one, and both can be set. One \
         atomic script appends the event, notes the channel's head and publishes it to the nodes, so there is no moment in \
         which one of them knows something that the others cannot find. When Redis is away, streams stay open and heal \
         once it is back.",
    ),
    (
        &[
            "publish", "send", "backend", "python", "node.js", "language", "curl", "api",
        ],
        "To publish, call one Redis function: FCALL sluice_publish with the channel's two keys, a type and the data. Every \
         language with a Redis client can do that, and where Redis is out of reach a POST to the gateway does the same. What \
         plays the backend of this page is a program like that: it stands beside the gateway, publishes prices and \
         notices, and follows one channel for what you ask.",
    ),
    (
        &["secur", "auth", "jwt", "permission", "private", "safe"],
        "Outside of this demo every request carries a token that is signed by you. It lists the channels that may be listened \
         to and those that may be published on, and a stream ends when its token does. Tokens never reach a log, and neither \
         do channels or users become labels of a metric.",
    ),
    (
        &["hello", "hi", "hey", "good morning", "thank"],
        "Hello! I am the backend of this demo. Ask me how a stream resumes, what happens when a node dies, or why these words \
         come one by one.",
    ),
];

const DEFAULT: &str = "\
    That is a good question, and I would rather not make up an answer: I am the small backend of this demo and know only what \
    was written down for me, all of it about Sluice. What I can show you is how an answer travels. Each of these words is an \
    event of its own, published as it is found and streamed to you by a gateway that never saw it before. Ask me how a stream \
    resumes after a cut, how events are kept, or how to publish from your own language.";

/// What is said when too much is asked at once.
pub const BUSY: &str = "Many are asking at the moment. Please ask again in a few seconds.";

/// The written answer that has most to do with the question.
pub fn to(question: &str) -> &'static str {
    let asked: String = question.chars().take(READ_CHARS).collect();
    // Words and phrases are found where a word begins.
    let asked = format!(
        " {}",
        asked
            .to_lowercase()
            .replace(['"', '\'', '(', '\n', '\t'], " ")
    );
    let hits = |keys: &[&str]| {
        let found = keys.iter().filter(|key| asked.contains(&format!(" {key}")));
        found.map(|key| key.split(' ').count()).sum::<usize>()
    };
    let mut best = (0, DEFAULT);
    for (keys, answer) in WRITTEN {
        let hits = hits(keys);
        if hits > best.0 {
            best = (hits, answer);
        }
    }
    best.1
}

/// Publishes an answer word by word on `channel`, and that it is done. What was asked at `place` names the events, so that
/// none of them is there twice if the answer is given again after a restart.
pub async fn speak(
    outbox: &Outbox,
    channel: Channel,
    place: Position,
    answer: &str,
) -> Result<(), Failure> {
    let channel = channel.as_str();
    outbox.log("info", "a question is being answered")?;
    let mut tokens = 0;
    for word in answer.split_inclusive(' ') {
        let wait = Duration::from_millis(rand::random_range(BETWEEN_WORDS_MS));
        sleep(wait).await;
        let id = format!("{place}/{tokens}");
        outbox
            .send(channel, "token", id, &Token { text: word })
            .await?;
        tokens += 1;
    }
    outbox
        .send(channel, "done", format!("{place}/done"), &Done { tokens })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_finds_the_answer_it_is_about() {
        let answer = |begins: &str| {
            let all = WRITTEN.iter().map(|(_, answer)| *answer);
            let mut found = all.filter(|answer| answer.starts_with(begins));
            found.next().unwrap_or(DEFAULT)
        };
        for (question, begins) in [
            (
                "What happens when I lose the connection?",
                "When a connection",
            ),
            ("What is Sluice?", "Sluice is a gateway"),
            ("Why not WebSockets?", "Server-Sent Events"),
            ("Are you an LLM?", "Each word"),
            ("how do I PUBLISH from python", "To publish"),
            ("Hi", "Hello!"),
        ] {
            assert_eq!(to(question), answer(begins), "{question}");
        }
    }

    #[test]
    fn any_other_question_gets_the_thoughtful_answer() {
        for question in [
            "",
            "What is the meaning of life?",
            "Which?",
            &"x".repeat(100_000),
        ] {
            assert_eq!(to(question), DEFAULT, "{:.40}", question);
        }
    }

    /// An answer takes a few seconds, not a minute, and its words make up the whole text.
    #[test]
    fn answers_are_of_a_length_that_people_wait_for() {
        let texts = WRITTEN.iter().map(|(_, text)| *text);
        for text in texts.chain([DEFAULT, BUSY]) {
            let words: Vec<&str> = text.split_inclusive(' ').collect();
            assert!(
                (8..120).contains(&words.len()),
                "{} words: {text}",
                words.len()
            );
            assert!(!text.contains("  ") && text.is_ascii(), "{text}");
        }
    }
}
