// The connection in words: state, node, cursor, what a resume brought; and the two ways to lose it on purpose.

import { ANSWER_LIMIT, address, announce, at, copies, noAnswer, parse } from "./gateway.js";
import { CLOSE_REASONS, RESET_REASONS } from "./reasons.js";

/** A load balancer may hand the order to any node: ask so often until the right one answers. */
const CUT_TRIES = 40;
/** Replayed events come at once; what they were is told when they have. */
const SETTLE = 700;

const CLOSED = "closed: the browser has given up, as it does on any answer but 200";

export function startStrip(link) {
  link.addEventListener("state", () => showState(link));
  setInterval(() => showState(link), 250);
  link.addEventListener("placed", ({ detail }) => showPlace(link, detail.channels));
  link.addEventListener("heard", () => showCursor(link));
  link.addEventListener("close", ({ detail }) => {
    const reason = CLOSE_REASONS[detail.reason] ?? "no reason that this page knows";
    say(`The gateway closed the stream: ${detail.reason}, ${reason}.`);
  });
  link.addEventListener("reset", ({ detail }) => showReset(link, detail));
  countReplays(link);
  copies(at("cursor-copy"), () => at("cursor").dataset.cursor);
  at("reset-dismiss").addEventListener("click", () => {
    at("reset").hidden = true;
    resets.clear();
    at("offline").focus();
  });
  at("kill").addEventListener("click", () => kill(link));
  at("offline").addEventListener("click", () => toggle(link));
  const network = () => (at("network").hidden = navigator.onLine);
  for (const name of ["online", "offline"]) addEventListener(name, network);
  network();
}

function say(text) {
  at("control-said").textContent = text;
}

function stateText(link) {
  if (link.state === "closed") return CLOSED;
  if (link.state !== "reconnecting") return link.state;
  const seconds = Math.ceil((link.nextTry - performance.now()) / 1000);
  return seconds > 0 ? `reconnecting in about ${seconds} s` : "reconnecting now";
}

let announced = "connecting";

function showState(link) {
  const text = stateText(link);
  if (at("state").textContent !== text) at("state").textContent = text;
  at("state").dataset.state = link.state;
  at("scene").dataset.state = link.state;
  const stopped = link.state === "offline" || link.state === "closed";
  at("offline").textContent = link.state === "closed" ? "Connect again" : stopped ? "Go online" : "Go offline";
  at("offline").dataset.wanted = stopped ? "online" : "offline";
  // Not `disabled`: who has just pressed it with the keyboard stays where they are.
  at("kill").setAttribute("aria-disabled", String(!canKill(link)));
  if (announced !== link.state) announce(`Connection: ${link.state}`);
  announced = link.state;
}

function showPlace(link, channels) {
  at("node").textContent = link.node;
  const statuses = Object.values(channels);
  const told = ["resumed", "live", "reset", "waiting"]
    .map((status) => [statuses.filter((each) => each === status).length, status])
    .filter(([count]) => count > 0)
    .map(([count, status]) => `${count} ${status}`);
  at("node").title = `Channels: ${told.join(", ")}`;
  at("node").dataset.channels = JSON.stringify(channels);
  showCursor(link);
}

function showCursor(link) {
  const { cursor } = link;
  if (!cursor || at("cursor").dataset.cursor === cursor) return;
  at("cursor").dataset.cursor = cursor;
  at("cursor").textContent = cursor.length > 24 ? `${cursor.slice(0, 10)}…${cursor.slice(-8)}` : cursor;
}

/** The channels that were reset and not yet dismissed, by reason. */
const resets = new Map();

function showReset(link, { channel, reason }) {
  showCursor(link);
  resets.set(reason, new Set(resets.get(reason)).add(channel));
  const told = [...resets].map(([why, channels]) => {
    const meaning = RESET_REASONS[why] ?? "no reason that this page knows";
    return `Reset of ${[...channels].join(", ")}: ${why}, ${meaning}.`;
  });
  at("reset-text").textContent = `${told.join(" ")} Events may be missing here; a real page fetches its state anew and goes on.`;
  at("reset").dataset.reason = reason;
  at("reset").hidden = false;
}

// An event is replayed when it was published before the stream stood again. What is lost again before it was told is told
// with the next return, and the time away is the whole then.
function countReplays(link) {
  let openedAt = 0;
  let counts = new Map();
  let wasReset = false;
  let untold;
  let tell;
  link.addEventListener("opened", ({ detail }) => {
    if (!untold) {
      untold = detail;
      counts = new Map();
      wasReset = false;
    }
    openedAt = detail.to;
    clearTimeout(tell);
    tell = setTimeout(() => {
      const { first, from } = untold;
      untold = undefined;
      showResume(counts, wasReset, { first, from, to: openedAt });
    }, SETTLE);
  });
  link.addEventListener("state", () => link.state !== "open" && clearTimeout(tell));
  link.addEventListener("close", () => clearTimeout(tell));
  link.addEventListener("reset", () => (wasReset = true));
  link.addEventListener("heard", ({ detail }) => {
    if (detail.at >= openedAt) return;
    const kind = Object.hasOwn(NAMES, detail.type ?? "") ? detail.type : "message";
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  });
}

const NAMES = {
  price: ["price", "prices"],
  likes: ["like count", "like counts"],
  notice: ["notification", "notifications"],
  progress: ["job step", "job steps"],
  finished: ["finished job", "finished jobs"],
  line: ["log line", "log lines"],
  count: ["event of its own", "events of its own"],
  message: ["other", "others"],
};

function showResume(counts, wasReset, { first, from, to }) {
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
  at("resume").dataset.replayed = String(all);
  const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([kind, count]) => `${count} ${NAMES[kind][count === 1 ? 0 : 1]}`);
  if (first) {
    at("resume").textContent = all ? `opened with ${all} kept events` : "opened live";
    return;
  }
  const away = `${(Math.max(0, to - (from ?? to)) / 1000).toFixed(1)} s away`;
  at("resume").textContent = `${all} ${all === 1 ? "event" : "events"} replayed, ${away}`;
  if (wasReset) {
    say("What came while you were away cannot be proved complete, and the gateway says so instead of leaving a silent hole.");
    return;
  }
  say(all ? `While you were away: ${parts.join(", ")}. All of it is here now.` : "Nothing was published while you were away.");
}

let killing = false;

const canKill = (link) => link.state === "open" && link.node !== "" && !killing;

async function kill(link) {
  if (!canKill(link)) return;
  killing = true;
  showState(link);
  try {
    say(await cut(link.node));
  } finally {
    killing = false;
    showState(link);
  }
}

async function cut(node) {
  const body = JSON.stringify({ node });
  for (let tried = 1; tried <= CUT_TRIES; tried++) {
    let answer;
    try {
      const signal = AbortSignal.timeout(ANSWER_LIMIT);
      answer = await fetch(address("dev/cut"), { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
    } catch (error) {
      if (error.name === "TimeoutError") return `Not known whether it was cut: ${noAnswer()}.`;
      // Over HTTP/2 the answer travels on the connection that was cut.
      return "The order was sent and its own connection broke.";
    }
    const told = parse(await answer.text().catch(() => ""));
    if (answer.ok) return `${node} cut ${told?.cut ?? "its"} ${told?.cut === 1 ? "stream" : "streams"} with a TCP reset. Nobody said goodbye.`;
    if (answer.status !== 421) return `Not cut (${answer.status}): ${told?.detail ?? "from what stands before the gateway"}`;
  }
  return `Not cut: ${node} did not answer in ${CUT_TRIES} tries behind the load balancer.`;
}

function toggle(link) {
  if (link.state === "offline" || link.state === "closed") {
    say("Going on after the cursor…");
    link.open();
    return;
  }
  link.leave();
  say("Offline. The cursor stays; the page goes on publishing its numbers.");
}
