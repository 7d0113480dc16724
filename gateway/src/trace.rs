//! One line in the log for each event with a `traceparent` that this node hands out, whatever number of streams it has:
//! when the last of its workers has woken the last of them. It has a target of its own, and is off unless asked for.

use sluice_wire::trace::TraceContext;
use tracing::Level;

use crate::hub::frame::EventFrame;

/// What the filter names: `sluice::trace=debug`.
pub const TARGET: &str = "sluice::trace";

/// An event has been handed to all the streams of this node that read its channel; `wall` is Unix time in milliseconds,
/// by Redis's clock.
pub fn handed_out(frame: &EventFrame, streams: usize, wall: u64) {
    if !tracing::enabled!(target: TARGET, Level::DEBUG) {
        return;
    }
    let latency = wall.saturating_sub(frame.position.id().ms);
    let latency = f64::from(u32::try_from(latency).unwrap_or(u32::MAX)) / 1_000.0;
    let trace = frame.trace();
    tracing::debug!(
        target: TARGET,
        trace_id = trace.map(TraceContext::trace_id).map(display),
        span_id = trace.map(TraceContext::span_id).map(display),
        position = %frame.position,
        latency_seconds = latency,
        streams,
        "event handed out"
    );
}
