// The gateway's reasons in words: every one of gateway/src/reasons.rs, and the one of nginx.

export const CLOSE_REASONS = {
  client_gone: "this side hung up",
  transport_error: "the connection was busy, but nobody read it",
  slow_consumer: "this page read too slowly",
  drain: "the node is leaving",
  poll_done: "the poll has its answer",
  max_age: "the stream has reached its age",
  overload: "the node is too busy to carry it",
  limit: "no more streams are taken here",
  token_expired: "the token has expired",
  revoked: "the right to read was taken back",
  disconnected: "an operator ended the stream",
  unavailable: "no node of the gateway can be reached",
};

export const RESET_REASONS = {
  trimmed: "what was missed is no longer kept",
  rollback: "the channel went back to an older copy",
  failover: "another Redis with another past took over",
  state_lost: "the channel's state is gone, it began anew",
  backfill_limit: "too much was missed to replay it all",
  bad_cursor: "the cursor could not be read",
};
