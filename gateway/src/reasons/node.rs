//! Parts of the node that are told apart: what it asks of Redis, what it has only so much of, and its threads.

use std::fmt;

use super::Label;

labels! {
    /// What a command, or a pipeline of them, asks of Redis.
    RedisCommand {
        /// Appending events.
        Publish = "publish",
        /// Reading channels, to catch up and for those who come back.
        Read = "read",
        /// Looking at a page of history.
        History = "history",
        /// Comparing the heads of all live channels.
        Audit = "audit",
        /// Asking for the time.
        Time = "time",
        /// Telling orders to all nodes, and keeping those that stand.
        Control = "control",
        /// Keeping and redeeming tickets.
        Ticket = "ticket",
        /// Taking, renewing and giving back the places of subjects.
        Lease = "lease",
        /// Writing this node's report.
        Report = "report",
        /// Looking for the publish library, and loading it.
        Function = "function",
        /// Subscribing to topics and leaving them.
        Subscribe = "subscribe",
        /// Probing a subscriber connection that has fallen silent.
        Probe = "probe",
        /// Connecting the subscriber.
        Connect = "connect",
    }
}

labels! {
    /// What the node has only so much of, all its callers together.
    NodeLimit {
        /// Streams and polls: `limits.connections`.
        Connections = "connections",
        /// Sockets of the public listener, streams or none.
        Sockets = "sockets",
        /// Addresses whose rate is remembered, or publishers, whichever are more: `limits.ip_entries`.
        IpEntries = "ip_entries",
        /// Batches under way: `limits.batches_at_once`.
        BatchesAtOnce = "batches_at_once",
        /// Revocations and disconnects that stand: `limits.standing_orders`.
        StandingOrders = "standing_orders",
        /// Messages waiting for the fullest worker: `limits.worker_queue`.
        WorkerQueue = "worker_queue",
        /// Messages waiting for the broker side: `limits.broker_queue`.
        BrokerQueue = "broker_queue",
        /// History reads under way: `limits.backfills`.
        Backfills = "backfills",
        /// Connections for data commands that are in use: `redis.pool_size`.
        RedisPool = "redis_pool",
        /// Publishes waiting for Redis.
        PublishesInFlight = "publishes_in_flight",
        /// Looks at history, tickets and orders waiting for Redis.
        LooksInFlight = "looks_in_flight",
        /// Places of subjects waiting for Redis.
        LeasesInFlight = "leases_in_flight",
        /// Channels of the embedded broker: `limits.embedded_channels`.
        EmbeddedChannels = "embedded_channels",
    }
}

labels! {
    /// What a thread is for.
    ThreadClass {
        /// Carries streams and requests.
        Worker = "worker",
        /// Speaks to Redis and runs the node core.
        Broker = "broker",
        /// Answers the admin listener.
        Admin = "admin",
        /// Starts and ends the others.
        Main = "main",
    }
}
