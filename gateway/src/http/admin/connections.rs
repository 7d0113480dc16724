//! `GET /admin/connections`: which streams are on this node. Never tokens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use sluice_wire::channel::Channel;
use tokio::sync::{broadcast, mpsc};

use super::{Admin, Obeyed, name};
use crate::connection::worker::list::Listed;
use crate::http::problem::{Code, Problem};
use crate::orders::Whom;
use crate::reasons::AdminCommand;

/// Streams of an answer that does not say how many, and the most.
const LIMIT: usize = 100;
const MOST: usize = 1_000;
/// Questions that a worker may be behind with; older ones get a shorter answer.
const QUESTIONS: usize = 16;
/// How long workers may take.
const WAIT: Duration = Duration::from_secs(2);

/// Asks every worker of this node for its streams. A clone asks the same ones.
#[derive(Clone)]
pub struct Roll {
    node: String,
    questions: broadcast::Sender<Question>,
}

/// Put to every worker.
#[derive(Clone)]
pub struct Question {
    pub whom: Arc<Whom>,
    pub limit: usize,
    answers: mpsc::Sender<Seen>,
}

/// A worker's answer.
pub struct Seen {
    /// No more than were asked for.
    pub streams: Vec<(Listed, Option<SocketAddr>)>,
    /// All that fit.
    pub count: usize,
}

impl Question {
    /// Answers, if somebody still waits for it.
    pub fn answer(&self, seen: Seen) {
        self.answers.try_send(seen).ok();
    }
}

impl Roll {
    /// For the node of that name.
    #[must_use]
    pub fn new(node: String) -> Roll {
        Roll {
            node,
            questions: broadcast::Sender::new(QUESTIONS),
        }
    }

    /// The questions, for one more worker.
    #[must_use]
    pub fn questions(&self) -> broadcast::Receiver<Question> {
        self.questions.subscribe()
    }

    async fn ask(&self, whom: Whom, limit: usize) -> Seen {
        let (answers, mut seen) = mpsc::channel(self.questions.receiver_count().max(1));
        let question = Question {
            whom: Arc::new(whom),
            limit,
            answers,
        };
        let mut all = Seen {
            streams: Vec::new(),
            count: 0,
        };
        if self.questions.send(question).is_err() {
            return all;
        }
        // Every worker drops its copy of the question once it has answered: then there is no more to come.
        let gather = async {
            while let Some(seen) = seen.recv().await {
                all.streams.extend(seen.streams);
                all.count += seen.count;
            }
        };
        if tokio::time::timeout(WAIT, gather).await.is_err() {
            tracing::warn!("a worker has not told its streams in time");
        }
        all.streams
            .sort_by_key(|(stream, _)| std::cmp::Reverse(stream.age));
        all.streams.truncate(limit);
        all
    }
}

/// `GET /admin/connections?sub=&channel=&limit=`.
///
/// # Errors
/// A [`Problem`]: 400 and 401.
pub(super) async fn get(
    request: HttpRequest,
    admin: web::Data<Admin>,
) -> Result<HttpResponse, Problem> {
    let obey = async {
        let (whom, limit) = understand(request.query_string())?;
        let seen = admin.roll.ask(whom, limit).await;
        let left_out = seen.count.saturating_sub(seen.streams.len());
        let connections: Vec<Value> = seen.streams.iter().map(shown).collect();
        Ok(Obeyed {
            about: request.query_string().to_owned(),
            answer: json!({ "node": admin.roll.node, "connections": connections, "left_out": left_out }),
        })
    };
    admin
        .command(AdminCommand::Connections, &request, obey)
        .await
}

fn shown((stream, address): &(Listed, Option<SocketAddr>)) -> Value {
    let place = |(channel, place): &(Channel, Option<_>)| {
        let place = place.map(|place: sluice_wire::position::Position| place.to_string());
        (channel.as_str().to_owned(), json!(place))
    };
    let channels: Map<String, Value> = stream.channels.iter().map(place).collect();
    json!({
        "connection": stream.id,
        "sub": stream.holder.subject,
        "jti": stream.holder.token_id,
        "issued_at": stream.holder.issued_at,
        "address": address,
        "channels": channels,
        "age_seconds": stream.age.as_secs(),
        "events": stream.events,
        "bytes": stream.bytes,
    })
}

fn understand(query: &str) -> Result<(Whom, usize), Problem> {
    let mut whom = Whom::default();
    let mut limit = LIMIT;
    let mut given = Vec::new();
    for (parameter, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let bad =
            |detail: String| Err(Problem::new(Code::BadParameter, detail).at(&parameter, &value));
        if given.contains(&parameter) {
            return bad(format!("`{parameter}` is given twice"));
        }
        match parameter.as_ref() {
            "sub" => whom.subject = Some(name("sub", value.to_string())?),
            "channel" => match Channel::parse(&value) {
                Ok(channel) => whom.channel = Some(channel.as_str().to_owned()),
                Err(error) => return bad(error.to_string()),
            },
            "limit" => match value.parse() {
                Ok(count) if (1..=MOST).contains(&count) => limit = count,
                Ok(_) | Err(_) => return bad(format!("`limit` is 1 to {MOST}")),
            },
            _ => return bad("known are `sub`, `channel` and `limit`".to_owned()),
        }
        given.push(parameter);
    }
    Ok((whom, limit))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_question_is_read() {
        let (whom, limit) = understand("sub=a%20b&channel=x.y&limit=1000").expect("read");
        assert_eq!(whom.subject.as_deref(), Some("a b"));
        assert_eq!(whom.channel.as_deref(), Some("x.y"));
        assert_eq!(limit, MOST);
        assert_eq!(understand("").expect("read"), (Whom::default(), LIMIT));
    }

    /// Were a misspelt filter ignored, its answer would be about everybody.
    #[rstest]
    #[case("subject=ann")]
    #[case("sub=")]
    #[case("sub=a&sub=b")]
    #[case("channel=a%20b")]
    #[case("limit=0")]
    #[case("limit=1001")]
    #[case("limit=all")]
    fn what_is_no_question_is_refused(#[case] query: &str) {
        let problem = understand(query).expect_err("refused");
        assert_eq!(problem.code(), Code::BadParameter);
    }
}
