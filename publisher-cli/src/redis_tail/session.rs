//! One RESP3 connection of a tail: subscriptions come in on it, and heads and streams are read on it.
//! Every answer is bounded by the address's timeout.

use redis::{AsyncConnectionConfig, Msg, PushInfo, PushKind};
use sluice_wire::Channel;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::args::RedisAddress;
use crate::failure::Failure;
use crate::redis_link::{self, answer};
use crate::redis_read::Reader;

/// Messages received and not yet looked at; one more is dropped, and the stream read instead.
const QUEUE_MESSAGES: usize = 1024;

/// A connection that is subscribed to its channels.
pub struct Session {
    pub reader: Reader,
    messages: mpsc::Receiver<PushInfo>,
}

impl Session {
    /// Connects and subscribes; what is read after that leaves nothing between it and the messages.
    pub async fn subscribe(
        address: &RedisAddress,
        channels: impl Iterator<Item = &Channel>,
    ) -> Result<Session, Failure> {
        let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            if !matches!(push.kind, PushKind::Message | PushKind::Disconnection) {
                return Ok(());
            }
            match queue.try_send(push) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
                Err(mpsc::error::TrySendError::Closed(_)) => Err(redis::aio::SendError),
            }
        });
        let deadline = Instant::now() + address.timeout;
        let mut connection = redis_link::connect(address, config, deadline).await?;
        let topics: Vec<_> = channels
            .map(|channel| address.keys.topic(channel))
            .collect();
        answer(address, connection.subscribe(topics)).await?;
        Ok(Session {
            reader: Reader::new(address.clone(), connection),
            messages,
        })
    }

    /// The next message, or that the connection is lost.
    pub async fn message(&mut self) -> Result<Msg, Failure> {
        let push = self.messages.recv().await;
        push.and_then(Msg::from_push_info)
            .ok_or_else(|| self.reader.lost())
    }
}
