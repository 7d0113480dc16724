//! Standing orders in Redis: a sorted set that every node can read anew, and a mark that changes with it.

use std::sync::Arc;
use std::time::Instant;

use super::data::{DataError, DataLink, Script};
use super::parse;
use crate::broker::control::StandError;
use crate::orders::Standing;
use crate::reasons::RedisCommand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Asked of Redis at once; it may answer with some more.
const PAGE: usize = 500;
/// Orders that are read; more than any node may have written.
const MOST: usize = 2_000_000;
/// Orders given back in one call.
const GIVEN_BACK_AT_ONCE: usize = 200;

/// Tells one state of the orders from another: a random text, new whenever Redis knows of none, and the number of orders
/// given since. Anything else, such as what people have put there, differs from every other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Mark {
    /// No order was ever given, as far as Redis knows.
    None,
    Given {
        epoch: String,
        orders: u64,
    },
    Strange(String),
}

impl Mark {
    fn parse(text: Option<String>) -> Mark {
        let Some(text) = text else { return Mark::None };
        let parts = text.split_once(':');
        let given = parts.and_then(|(epoch, orders)| Some((epoch, orders.parse().ok()?)));
        match given {
            Some((epoch, orders)) => Mark::Given {
                epoch: epoch.to_owned(),
                orders,
            },
            None => Mark::Strange(text),
        }
    }

    /// Whether it is this one so many orders later.
    pub(in crate::broker) fn is_after(&self, earlier: &Mark, count: u64) -> bool {
        match (self, earlier) {
            (
                Mark::Given { epoch, orders },
                Mark::Given {
                    epoch: same,
                    orders: before,
                },
            ) => epoch == same && *orders == before + count,
            (Mark::None, Mark::None) => count == 0,
            (Mark::Strange(text), Mark::Strange(same)) => text == same && count == 0,
            (Mark::None | Mark::Given { .. } | Mark::Strange(_), _) => false,
        }
    }
}

pub(super) fn script() -> Script {
    Script::new(
        RedisCommand::Control,
        include_str!("standing.lua").to_owned(),
    )
}

impl DataLink {
    /// Makes an order stand, and tells it to every node.
    pub(in crate::broker) async fn stand(
        &self,
        standing: &Standing,
        limit: usize,
    ) -> Result<(), StandError> {
        let topic = self.keys.orders_topic();
        let orders = std::slice::from_ref(standing);
        match self.add(&topic, &limit.to_string(), orders.iter()).await {
            Ok(_) => Ok(()),
            Err(DataError::Command(error)) if error.code() == Some("SLUICE") => {
                Err(StandError::NoRoom(limit))
            }
            Err(DataError::Command(error)) if error.is_io_error() || error.is_timeout() => {
                Err(StandError::Unknown(error.to_string()))
            }
            Err(error @ DataError::Lost) => Err(StandError::Unknown(error.to_string())),
            Err(
                error @ (DataError::Command(_)
                | DataError::NoConnection(_)
                | DataError::Reply(_)
                | DataError::TooManyNewHeads),
            ) => Err(StandError::Unavailable(error.to_string())),
        }
    }

    /// Gives orders back that Redis has lost. Those that others have given back by then stay as they are.
    pub(in crate::broker) async fn give_back(&self, lost: &[Arc<Standing>]) -> Result<(), String> {
        for some in lost.chunks(GIVEN_BACK_AT_ONCE) {
            let orders = some.iter().map(|order| &**order);
            self.add("", "", orders)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// What the orders are at now.
    pub(in crate::broker) async fn mark(&self) -> Result<Mark, String> {
        let mut get = redis::cmd("GET");
        get.arg(self.keys.standing_orders_mark());
        let reply = self
            .run(RedisCommand::Control, async |connection| {
                get.query_async(connection).await
            })
            .await;
        let text: Option<Vec<u8>> = reply.map_err(|error: DataError| error.to_string())?;
        Ok(Mark::parse(
            text.map(|text| String::from_utf8_lossy(&text).into_owned()),
        ))
    }

    /// Hands on all standing orders, as text, page by page. Whatever stood all the while is among them (SCAN's promise).
    pub(in crate::broker) async fn standing(
        &self,
        mut take: impl FnMut(Vec<u8>),
    ) -> Result<(), String> {
        let told = |error: DataError| error.to_string();
        let asked = Instant::now();
        let time = self
            .run(RedisCommand::Time, async |connection| {
                redis::cmd("TIME").query_async(connection).await
            })
            .await
            .and_then(parse::time)
            .map_err(told)?;
        self.clock.correct(time, asked.elapsed());
        let mut count = 0;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("ZSCAN");
            scan.arg(self.keys.standing_orders()).arg(cursor);
            scan.arg("COUNT").arg(PAGE);
            let reply = self
                .run(RedisCommand::Control, async |connection| {
                    scan.query_async(connection).await
                })
                .await;
            let (next, page): (u64, Vec<Vec<u8>>) = reply.map_err(told)?;
            // Each member is followed by its score, which the member says too.
            for text in page.into_iter().step_by(2) {
                count += 1;
                take(text);
            }
            if next == 0 {
                return Ok(());
            }
            if count > MOST {
                return Err(format!("more than {MOST} orders stand in Redis"));
            }
            cursor = next;
        }
    }

    async fn add<'a>(
        &self,
        topic: &str,
        limit: &str,
        orders: impl Iterator<Item = &'a Standing>,
    ) -> Result<u64, DataError> {
        let keys = [
            self.keys.standing_orders(),
            self.keys.standing_orders_mark(),
        ];
        let epoch = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let mut args: Vec<Vec<u8>> = vec![topic.into(), limit.into(), epoch.into()];
        for order in orders {
            args.push(order.until.to_string().into());
            args.push(order.to_json().into());
        }
        self.eval(&self.stand, &keys, &args).await
    }
}
