//! One worker thread's streams at the edge: bodies that pull their bytes, and
//! the one local task that feeds the worker and tells time.

mod heard;
mod orders;
mod pace;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use tokio::sync::{broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::admin::connections::Question;
use super::admission::Places;
use super::dev::CutOrder;
use super::peer::{Peer, PeerStreams};
use super::told::{self, Caller};
use crate::broker::clock::Clock;
use crate::broker::reports::Count;
use crate::broker::{Broker, WorkerPort};
use crate::connection::stream::{Pull, Tally};
use crate::connection::worker::Worker;
use crate::connection::{Opening, StreamLimits, Transport};
use crate::hub::exchange::{ToWorker, WorkerId};
use crate::lifecycle::Drain;
use crate::metrics::{ConnectionMetrics, HubMetrics, LimitMetrics};
use crate::reasons::{CloseReason, LimitName};
use crate::trace;
use pace::Pace;

/// Messages taken from the node before connections have their turn.
const BATCH: usize = 256;
/// How often the worker looks at its clocks.
const TICK: Duration = Duration::from_millis(100);
/// Polls of a body that had nothing, within [`EMPTY_POLLS_WINDOW`], that end it: a
/// client that pipelines requests into an open stream can make its worker spin.
const EMPTY_POLLS: u32 = 1_024;
const EMPTY_POLLS_WINDOW: Duration = Duration::from_secs(1);

/// A worker thread's streams. A clone is the same ones.
#[derive(Clone)]
pub struct LocalStreams(Rc<Local>);

struct Local {
    worker: RefCell<Worker<BodyTransport>>,
    id: WorkerId,
    broker: Broker,
    metrics: ConnectionMetrics,
    hub: HubMetrics,
    limits: LimitMetrics,
    pace: Pace,
}

/// The way out through an HTTP response body.
struct BodyTransport {
    waker: Option<Waker>,
    peer: Peer,
}

impl Transport for BodyTransport {
    fn notify(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn abort(&mut self) {
        self.peer.cut();
    }
}

impl LocalStreams {
    /// Starts the streams of this thread, with the task that feeds them.
    #[must_use]
    pub fn start(
        port: WorkerPort,
        broker: Broker,
        limits: StreamLimits,
        metrics: (ConnectionMetrics, HubMetrics, LimitMetrics),
        drain: watch::Receiver<Option<Drain>>,
        (cuts, questions): (broadcast::Receiver<CutOrder>, broadcast::Receiver<Question>),
    ) -> LocalStreams {
        let streams = LocalStreams(Rc::new(Local {
            worker: RefCell::new(Worker::new(limits, rand::random())),
            id: port.worker,
            broker,
            pace: Pace::new(&metrics.0),
            metrics: metrics.0,
            hub: metrics.1,
            limits: metrics.2,
        }));
        let feed = streams.clone().feed(port, drain, (cuts, questions));
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with its thread, or with the broker"
        )]
        let feeding = actix_web::rt::spawn(feed);
        drop(feeding);
        streams
    }

    /// Opens a stream for a caller who has been let in.
    #[must_use]
    pub fn open(
        &self,
        opening: &Opening,
        peer: Peer,
        places: Places,
        caller: Caller,
    ) -> StreamBody {
        let shared = peer.shared();
        let transport = BodyTransport { waker: None, peer };
        let now = self.0.broker.clock().now();
        let key = self.0.worker.borrow_mut().open(opening, transport, now);
        self.end_if_revoked(key, &opening.holder);
        if !places.is_own() {
            self.0.metrics.opened.inc();
            self.0.metrics.open.inc();
        }
        self.send_questions();
        StreamBody {
            streams: self.clone(),
            key,
            shared,
            empty_polls: EmptyPolls::new(now),
            caller,
            places,
        }
    }

    async fn feed(
        self,
        port: WorkerPort,
        mut drain: watch::Receiver<Option<Drain>>,
        (mut cuts, mut questions): (broadcast::Receiver<CutOrder>, broadcast::Receiver<Question>),
    ) {
        let _guard = PanicGuard;
        let (mut queue, mut counter) = (port.messages, port.counter);
        let mut messages = Vec::with_capacity(BATCH);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let clock = self.0.broker.clock().clone();
        let mut orders = self.0.broker.orders();
        loop {
            tokio::select! {
                count = queue.recv_many(&mut messages, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.hear(&mut messages, &clock);
                }
                Ok(()) = drain.changed() => {
                    let ending = *drain.borrow_and_update();
                    if let Some(Drain { lead, window }) = ending {
                        self.0.worker.borrow_mut().drain(clock.now() + lead, window);
                    }
                }
                heard = heard::some(&mut orders) => self.obey(&heard),
                Ok(question) = questions.recv() => question.answer(self.seen(&question)),
                Ok(order) = cuts.recv() => {
                    let cut = self.0.worker.borrow_mut().cut();
                    // Nobody waits for the number any more: it was too late.
                    order.try_send(cut).ok();
                }
                _ = tick.tick() => {
                    self.tick(clock.now());
                    counter.count(|| self.subscribers());
                }
            }
            self.send_questions();
        }
    }

    /// Takes what the node has said. Measured once per event, not per stream.
    fn hear(&self, messages: &mut Vec<ToWorker>, clock: &Clock) {
        let mut worker = self.0.worker.borrow_mut();
        let mut now = clock.now();
        for message in messages.drain(..) {
            let emitted = message.emitted();
            worker.hear(message, now);
            if let Some(emitted) = emitted {
                let taken = std::mem::replace(&mut now, clock.now());
                self.0.pace.event(emitted, taken, now);
            }
        }
        for (frame, streams) in worker.tally().handed.drain(..) {
            trace::handed_out(&frame, streams, clock.wall());
        }
    }

    fn tick(&self, now: Duration) {
        let mut worker = self.0.worker.borrow_mut();
        worker.tick(now);
        self.0.pace.tell(worker.lag(), worker.seats());
    }

    fn subscribers(&self) -> Count {
        let worker = self.0.worker.borrow();
        Count {
            streams: worker.streams(),
            subscribers: worker.subscribers(),
        }
    }

    /// Asks the node what streams want to know; what does not fit waits for the next turn.
    fn send_questions(&self) {
        let mut worker = self.0.worker.borrow_mut();
        while let Some(question) = worker.outbox().pop_front() {
            if let Err(question) = self.0.broker.ask(self.0.id, question) {
                worker.outbox().push_front(question);
                return;
            }
        }
    }

    fn pull(&self, key: usize, now: Duration, context: &Context<'_>) -> Pull {
        let mut worker = self.0.worker.borrow_mut();
        let pull = worker.pull(key, now);
        if pull == Pull::Pending
            && let Some(transport) = worker.transport(key)
        {
            transport.waker = Some(context.waker().clone());
        }
        self.count(worker.tally());
        drop(worker);
        self.send_questions();
        pull
    }

    /// Moves what has been delivered into the metrics.
    fn count(&self, tally: &mut Tally) {
        let replayed = std::mem::take(&mut tally.replayed);
        let ephemerals = std::mem::take(&mut tally.ephemerals);
        let pace = &self.0.pace;
        pace.delivered(
            &mut tally.published,
            replayed + ephemerals,
            self.0.broker.clock(),
        );
        if replayed > 0 {
            self.0.hub.replay_events.inc_by(replayed);
        }
        let cut = std::mem::take(&mut tally.cut_answers);
        if cut > 0 {
            self.0.limits.hits.of(LimitName::PageBytes).inc_by(cut);
        }
        for reason in tally.resets.drain(..) {
            self.0.hub.resets_told.of(reason).inc();
        }
        for outcome in tally.replays.drain(..) {
            self.0.hub.replays.of(outcome).inc();
        }
        let unlinked = std::mem::take(&mut tally.unlinked);
        if unlinked > 0 {
            tracing::error!(
                unlinked,
                "frames did not link to their reader's place; it asks again"
            );
        }
    }

    /// Counts a stream out; `instead` is the reason where the transport knows better. The node's own, which has no caller,
    /// is not counted.
    fn close(&self, key: usize, instead: Option<CloseReason>, caller: Option<&Caller>) {
        let ended = self
            .0
            .worker
            .borrow_mut()
            .remove(key, self.0.broker.clock().now());
        self.send_questions();
        let Some(ended) = ended else {
            return;
        };
        let reason = instead.unwrap_or(ended.reason);
        let Some(caller) = caller else {
            tracing::debug!(%reason, events = ended.events, "the canary's stream ended");
            return;
        };
        let metrics = &self.0.metrics;
        metrics.open.dec();
        metrics.closed.of(reason).inc();
        metrics
            .duration_seconds
            .observe(ended.duration.as_secs_f64());
        self.0.pace.tell_written();
        told::stream_end(&ended, reason, caller);
    }
}

/// Ends the process when the task that holds it panics. The runtime would swallow the panic, and the worker's
/// streams would stand open for ever, fed and timed by nobody; cut, their clients resume on another node.
struct PanicGuard;

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the task that feeds a worker's streams has panicked; the node ends");
            std::process::abort();
        }
    }
}

/// The body of one stream: pulls from its worker whenever the socket has room.
pub struct StreamBody {
    streams: LocalStreams,
    key: usize,
    /// Set for HTTP/2, whose streams do not notice that their connection is gone.
    shared: Option<Rc<PeerStreams>>,
    empty_polls: EmptyPolls,
    caller: Caller,
    places: Places,
}

impl StreamBody {
    /// Why the stream has ended or is about to; nothing while it goes on.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.streams.0.worker.borrow().close_reason(self.key)
    }
}

/// The client keeps its worker busy without reading.
#[derive(Debug, thiserror::Error)]
#[error("the client keeps the connection busy without reading the stream")]
pub struct BusyClient;

/// Polls of a body since its last bytes, within [`EMPTY_POLLS_WINDOW`].
struct EmptyPolls {
    count: u32,
    since: Duration,
}

impl EmptyPolls {
    fn new(now: Duration) -> EmptyPolls {
        EmptyPolls {
            count: 0,
            since: now,
        }
    }

    /// Bytes went out: the one empty poll that follows each time is as it should be.
    fn forget(&mut self) {
        self.count = 0;
    }

    /// Counts one more.
    fn count(&mut self, now: Duration) {
        if now.saturating_sub(self.since) > EMPTY_POLLS_WINDOW {
            *self = EmptyPolls::new(now);
        }
        self.count += 1;
    }

    fn are_too_many(&self) -> bool {
        self.count >= EMPTY_POLLS
    }
}

impl MessageBody for StreamBody {
    type Error = BusyClient;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BusyClient>>> {
        let body = self.get_mut();
        if body.shared.as_ref().is_some_and(|shared| shared.has_gone()) {
            return Poll::Ready(None);
        }
        let now = body.streams.0.broker.clock().now();
        match body.streams.pull(body.key, now, context) {
            Pull::Bytes(bytes) => {
                if !body.places.is_own() {
                    body.streams.0.pace.wrote(bytes.len());
                }
                body.empty_polls.forget();
                Poll::Ready(Some(Ok(bytes)))
            }
            Pull::End => Poll::Ready(None),
            Pull::Pending => {
                body.empty_polls.count(now);
                if body.empty_polls.are_too_many() {
                    return Poll::Ready(Some(Err(BusyClient)));
                }
                if let Some(shared) = &body.shared {
                    shared.wake_when_gone(body.key, context.waker());
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.forget(self.key);
        }
        let busy = self.empty_polls.are_too_many();
        let instead = busy.then_some(CloseReason::TransportError);
        let caller = (!self.places.is_own()).then_some(&self.caller);
        self.streams.close(self.key, instead, caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_polls_that_give_nothing_again_and_again_are_too_many() {
        let now = Duration::from_secs(1);
        let mut polls = EmptyPolls::new(now);
        for _ in 0..EMPTY_POLLS * 4 {
            polls.count(now);
            assert!(!polls.are_too_many(), "a fast reader is no spinning one");
            polls.forget();
        }
        for _ in 1..EMPTY_POLLS {
            polls.count(now);
            assert!(!polls.are_too_many());
        }
        polls.count(now);
        assert!(polls.are_too_many());
        polls.count(now + EMPTY_POLLS_WINDOW * 2);
        assert!(!polls.are_too_many());
    }
}
