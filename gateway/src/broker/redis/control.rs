//! Orders to all nodes, as messages.

use super::data::DataLink;
use crate::broker::control::TellError;
use crate::reasons::RedisCommand;

impl DataLink {
    /// Sends an order on the topic that every node hears.
    pub(in crate::broker) async fn tell(&self, order: &str) -> Result<(), TellError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.keys.orders_topic()).arg(order);
        self.run(RedisCommand::Control, async |connection| {
            publish.exec_async(connection).await
        })
        .await
        .map_err(|error| TellError(error.to_string()))
    }
}
