//! The world around the node core in a running gateway: worker queues, reads
//! under way, and the backend.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use sluice_wire::channel::Channel;
use sluice_wire::position::Position;
use tokio::sync::{mpsc, oneshot};

use super::batch::Outcome;
use super::clock::Clock;
use super::control::{StandError, TellError};
use super::embedded::Embedded;
use super::history::{Glance, LookError, LookReply};
use super::leases::{LeaseReply, Leases, Wish};
use super::redis::Redis;
use super::standing::{NoRoom, Shelf};
use super::tickets::{EmbeddedTickets, Errand};
use super::{Publication, PublishError};
use crate::hub::exchange::{Full, Note, Query, ReadId, Reading, ToWorker, WorkerId, World};
use crate::hub::frame::EventFrame;
use crate::metrics::{BrokerMetrics, HubMetrics, LimitMetrics};
use crate::orders::{ConnectionId, Standing};
use crate::reasons::{Arrival, LimitName};
use crate::trace;

/// Something that was asked of the backend has come back.
pub(super) enum Done {
    Reads(Vec<(ReadId, Channel, Option<Reading>)>),
    Heads(Option<Vec<(Channel, Option<Position>)>>),
    Published,
    Looked,
    /// Who has lost a place.
    Leased(Vec<ConnectionId>),
}

/// Publishes that may wait for Redis at the same time; one more is refused.
pub(super) const PUBLISHES_IN_FLIGHT: usize = 1_024;
/// Looks for pages of history, and errands of tickets, that may wait for Redis at the same time; one more is refused.
pub(super) const LOOKS_IN_FLIGHT: usize = 256;
/// Places of subjects that may wait for Redis at the same time; one more is not asked for.
pub(super) const LEASES_IN_FLIGHT: usize = 4_096;
/// Questions that one pipeline carries.
const READS_PER_PIPELINE: usize = 32;

pub(super) enum Backend {
    Redis(Redis),
    Embedded(Box<Embedded>),
}

/// What the thread counts.
pub(super) struct LoopMetrics {
    pub hub: HubMetrics,
    pub broker: BrokerMetrics,
    pub limits: LimitMetrics,
}

pub(super) struct Outside {
    pub backend: Backend,
    pub pending: FuturesUnordered<Pin<Box<dyn Future<Output = Done>>>>,
    pub hub: HubMetrics,
    pub broker: BrokerMetrics,
    pub leases: Leases,
    pub clock: Clock,
    pub(super) limits: LimitMetrics,
    /// Channels by topic, so that a message costs one look-up.
    topics: HashMap<Vec<u8>, Channel>,
    pub(super) workers: Vec<mpsc::Sender<ToWorker>>,
    pub(super) publishing: usize,
    pub(super) looking: usize,
    pub(super) leasing: usize,
    /// Those of the embedded broker.
    tickets: EmbeddedTickets,
    batch: Vec<(ReadId, Query)>,
}

impl Outside {
    pub(super) fn new(
        backend: Backend,
        workers: Vec<mpsc::Sender<ToWorker>>,
        metrics: LoopMetrics,
        leases: Leases,
        clock: Clock,
    ) -> Outside {
        Outside {
            backend,
            pending: FuturesUnordered::new(),
            hub: metrics.hub,
            broker: metrics.broker,
            leases,
            clock,
            limits: metrics.limits,
            topics: HashMap::new(),
            workers,
            publishing: 0,
            looking: 0,
            leasing: 0,
            tickets: EmbeddedTickets::default(),
            batch: Vec::new(),
        }
    }

    pub(super) fn channel_of(&self, topic: &[u8]) -> Option<Channel> {
        self.topics.get(topic).cloned()
    }

    /// Sends off the reads that one turn of the loop has gathered, pipelined.
    pub(super) fn flush_reads(&mut self) {
        while !self.batch.is_empty() {
            let rest = self.batch.len().saturating_sub(READS_PER_PIPELINE);
            let batch = self.batch.split_off(rest);
            self.pending.push(match &mut self.backend {
                Backend::Redis(redis) => {
                    let link = redis.data();
                    Box::pin(async move { Done::Reads(link.read_all(batch).await) })
                }
                Backend::Embedded(embedded) => {
                    let wall = self.clock.wall();
                    let read = |(id, query): (ReadId, Query)| {
                        let reading = embedded.read(&query, wall);
                        (id, query.channel, reading)
                    };
                    let done = batch.into_iter().map(read).collect();
                    Box::pin(std::future::ready(Done::Reads(done)))
                }
            });
        }
    }

    /// A publish has its answer.
    pub(super) fn published(&mut self) {
        self.publishing -= 1;
    }

    pub(super) fn publish(
        &mut self,
        publication: Publication,
        reply: oneshot::Sender<Result<Position, PublishError>>,
    ) {
        match &mut self.backend {
            Backend::Embedded(embedded) => {
                // A caller who has gone does not need the answer.
                drop(reply.send(embedded.publish(&publication, self.clock.wall())));
            }
            Backend::Redis(_) if self.publishing >= PUBLISHES_IN_FLIGHT => {
                drop(reply.send(Err(PublishError::Unavailable)));
            }
            Backend::Redis(redis) => {
                let link = redis.data();
                self.publishing += 1;
                self.pending.push(Box::pin(async move {
                    drop(reply.send(link.publish(&publication).await));
                    Done::Published
                }));
            }
        }
    }
}

impl Outside {
    pub(super) fn publish_all(
        &mut self,
        piece: Vec<Publication>,
        reply: oneshot::Sender<Vec<Outcome>>,
    ) {
        match &mut self.backend {
            Backend::Embedded(embedded) => {
                drop(reply.send(embedded.publish_all(&piece, self.clock.wall())));
            }
            Backend::Redis(_) if self.publishing >= PUBLISHES_IN_FLIGHT => {
                drop(reply.send(vec![Err(PublishError::Unavailable); piece.len()]));
            }
            Backend::Redis(redis) => {
                let link = redis.data();
                self.publishing += 1;
                self.pending.push(Box::pin(async move {
                    drop(reply.send(link.publish_all(&piece).await));
                    Done::Published
                }));
            }
        }
    }

    /// A look, or a question for the time, has its answer.
    pub(super) fn looked(&mut self) {
        self.looking -= 1;
    }

    pub(super) fn look(&mut self, glance: Glance, reply: LookReply) {
        match &mut self.backend {
            Backend::Embedded(embedded) => {
                // A caller who has gone does not need the answer; so with all of these.
                drop(reply.send(Ok(embedded.look(&glance, self.clock.wall()))));
            }
            Backend::Redis(_) if self.looking >= LOOKS_IN_FLIGHT => {
                drop(reply.send(Err(LookError::Unavailable)));
            }
            Backend::Redis(redis) => {
                let link = redis.data();
                self.looking += 1;
                self.pending.push(Box::pin(async move {
                    drop(reply.send(link.glance(&glance).await));
                    Done::Looked
                }));
            }
        }
    }

    pub(super) fn time(&mut self, reply: oneshot::Sender<Result<u64, LookError>>) {
        match &self.backend {
            Backend::Embedded(_) => {
                reply.send(Ok(self.clock.wall())).ok();
            }
            Backend::Redis(_) if self.looking >= LOOKS_IN_FLIGHT => {
                reply.send(Err(LookError::Unavailable)).ok();
            }
            Backend::Redis(redis) => {
                let link = redis.data();
                self.looking += 1;
                self.pending.push(Box::pin(async move {
                    reply.send(link.time().await).ok();
                    Done::Looked
                }));
            }
        }
    }

    pub(super) fn ticket(&mut self, errand: Errand) {
        match &self.backend {
            Backend::Embedded(_) => self.tickets.run(errand, self.clock.now()),
            Backend::Redis(_) if self.looking >= LOOKS_IN_FLIGHT => errand.refuse(),
            Backend::Redis(redis) => {
                let link = redis.data();
                self.looking += 1;
                self.pending.push(Box::pin(async move {
                    link.ticket(errand).await;
                    Done::Looked
                }));
            }
        }
    }

    /// Sends an order to all nodes; gives it back where there are no others.
    pub(super) fn tell(
        &mut self,
        order: String,
        reply: oneshot::Sender<Result<(), TellError>>,
    ) -> Option<String> {
        match &self.backend {
            Backend::Embedded(_) => {
                reply.send(Ok(())).ok();
                Some(order)
            }
            Backend::Redis(_) if self.looking >= LOOKS_IN_FLIGHT => {
                let busy = TellError("too much is waiting for Redis".to_owned());
                reply.send(Err(busy)).ok();
                None
            }
            Backend::Redis(redis) => {
                let link = redis.data();
                self.looking += 1;
                self.pending.push(Box::pin(async move {
                    reply.send(link.tell(&order).await).ok();
                    Done::Looked
                }));
                None
            }
        }
    }
}

impl Outside {
    /// Makes an order stand; this node obeys before the answer.
    pub(super) fn stand(
        &mut self,
        standing: Standing,
        shelf: Arc<Shelf>,
        reply: oneshot::Sender<Result<(), StandError>>,
    ) {
        match &self.backend {
            Backend::Embedded(_) => {
                let taken = shelf.take_bounded(standing);
                let taken = taken.map_err(|NoRoom| StandError::NoRoom(shelf.limit()));
                reply.send(taken).ok();
            }
            Backend::Redis(_) if self.looking >= LOOKS_IN_FLIGHT => {
                let busy = "too much is waiting for Redis".to_owned();
                reply.send(Err(StandError::Unavailable(busy))).ok();
            }
            Backend::Redis(redis) => {
                let link = redis.data();
                self.looking += 1;
                self.pending.push(Box::pin(async move {
                    let stands = link.stand(&standing, shelf.limit()).await;
                    if stands.is_ok() {
                        shelf.take(standing);
                    }
                    reply.send(stands).ok();
                    Done::Looked
                }));
            }
        }
    }
    /// A wish for a place has its answer.
    pub(super) fn leased(&mut self) {
        self.leasing -= 1;
    }

    /// Takes a subject's place, and gives those who have lost theirs where that is known at once.
    pub(super) fn lease(&mut self, wish: Wish, reply: LeaseReply) -> Vec<ConnectionId> {
        match &self.backend {
            Backend::Embedded(_) => {
                let (answer, evicted) = self.leases.take_here(&wish);
                // A caller who has gone gives the place back with the answer; so below.
                drop(reply.send(Some(answer)));
                evicted
            }
            Backend::Redis(_) if self.leasing >= LEASES_IN_FLIGHT => {
                drop(reply.send(None));
                Vec::new()
            }
            Backend::Redis(redis) => {
                let (link, leases) = (redis.data(), self.leases.clone());
                self.leasing += 1;
                self.pending.push(Box::pin(async move {
                    let (answer, evicted) = leases.take(&link, &wish).await;
                    drop(reply.send(answer));
                    Done::Leased(evicted)
                }));
                Vec::new()
            }
        }
    }

    /// A stream has to end for a newer one of its subject.
    pub(super) fn count_eviction(&self) {
        let hits = &self.limits.hits;
        hits.of(LimitName::ConnectionsPerSubject).inc();
    }

    /// Counts what the embedded broker has had no room for.
    pub(super) fn count_limits(&mut self) {
        if let Backend::Embedded(embedded) = &mut self.backend {
            let refused = std::mem::take(&mut embedded.refused);
            let hits = self.limits.hits.of(LimitName::EmbeddedChannels);
            hits.inc_by(refused);
        }
    }
}

impl World for Outside {
    fn subscribe(&mut self, channel: &Channel) {
        match &mut self.backend {
            Backend::Redis(redis) => {
                self.topics
                    .insert(redis.topic(channel).into_bytes(), channel.clone());
                redis.want(channel);
            }
            Backend::Embedded(embedded) => embedded.want(channel),
        }
    }

    fn unsubscribe(&mut self, channel: &Channel) {
        match &mut self.backend {
            Backend::Redis(redis) => {
                self.topics.remove(redis.topic(channel).as_bytes());
                redis.unwant(channel);
            }
            Backend::Embedded(embedded) => embedded.unwant(channel),
        }
    }

    fn read(&mut self, id: ReadId, query: Query) {
        self.batch.push((id, query));
    }

    fn heads(&mut self, channels: Vec<Channel>) {
        self.pending.push(match &mut self.backend {
            Backend::Redis(redis) => {
                let link = redis.data();
                Box::pin(async move { Done::Heads(link.heads(channels).await) })
            }
            Backend::Embedded(embedded) => {
                let wall = self.clock.wall();
                let head = |channel: Channel| {
                    let head = embedded.head(&channel, wall);
                    (channel, head)
                };
                let heads = channels.into_iter().map(head).collect();
                Box::pin(std::future::ready(Done::Heads(Some(heads))))
            }
        });
    }

    fn send(&mut self, worker: WorkerId, message: ToWorker) -> Result<(), Full> {
        let queue = self.workers.get(worker).ok_or(Full)?;
        queue.try_send(message).map_err(|_| Full)
    }

    fn handed_out(&mut self, frame: &EventFrame, streams: usize) {
        trace::handed_out(frame, streams, self.clock.wall());
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::FromPubSub => self.hub.received.of(Arrival::Pubsub).inc(),
            Note::FromSync => self.hub.received.of(Arrival::Sync).inc(),
            Note::FromEphemeral => self.hub.received.of(Arrival::Ephemeral).inc(),
            Note::Gap => self.hub.gaps_found.inc(),
            Note::Sync(cause) => self.hub.syncs.of(cause).inc(),
            Note::AuditFinding => self.broker.audit_findings.inc(),
            Note::Straggler => self.hub.stragglers.inc(),
            Note::WorkerOverflow => self.hub.worker_overflows.inc(),
            // Told resets are counted where they are told: per reader.
            Note::Backfill
            | Note::Reset(_)
            | Note::Duplicate
            | Note::BufferOverflow
            | Note::Resubscribe => {}
        }
    }
}
