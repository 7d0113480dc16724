// What every module needs of the page and of the gateway: elements, addresses, publishing, Redis's clock.

export const at = (id) => document.getElementById(id);

/** The address of a route, also where the gateway stands below a path of a proxy. */
export const address = (path) => new URL(path, document.baseURI).href;

export const streamPath = (channels, start) => {
  const query = new URLSearchParams(channels.map((channel) => ["channel", channel]));
  query.set("envelope", "json");
  for (const [name, value] of Object.entries(start)) query.set(name, value);
  return `v1/events?${query}`;
};

export const publishPath = (channel) => `v1/channels/${encodeURIComponent(channel)}/events`;

export const randomName = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(5)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export function make(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** JSON where it is JSON, else nothing: whoever publishes to a demo channel may send what they like. */
export function parse(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

// The clock of positions, seen through our own publishes: the answer with the shortest way tells best.
const clock = { offset: 0, way: Infinity };

/** Now, by the clock that positions are made with, in Unix milliseconds. */
export const brokerNow = () => Date.now() + clock.offset;

/** A position's time in Unix milliseconds; nothing for an ephemeral event. */
export const timeOf = (position) => (position ? Number.parseInt(position, 10) : undefined);

function setClock(position, sent, answered) {
  const way = answered - sent;
  if (way > clock.way) {
    clock.way += 1; // Clocks drift: an old good look slowly gives way to a newer one.
    return;
  }
  clock.way = way;
  clock.offset = timeOf(position) - (sent + answered) / 2;
}

/** What has no answer after so many milliseconds gets none. */
export const ANSWER_LIMIT = 5000;

/** Why there may be no answer. The browser says nothing about requests that wait for a connection. */
export function noAnswer() {
  const [visit] = performance.getEntriesByType("navigation");
  const six = "; the browser opens six connections per host over HTTP/1.1, all tabs together: close a tap or a tab, or use HTTPS";
  return `no answer within ${ANSWER_LIMIT / 1000} s${visit?.nextHopProtocol?.startsWith("http/1") ? six : ""}`;
}

/** A publish that was refused, or that nobody answered (then `status` is 0). */
export class PublishError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }

  /** Whether the same may succeed later, or has even succeeded unseen. */
  get passes() {
    return this.status === 0 || this.status >= 500;
  }
}

/** How publishing goes: `published` is dispatched for every success. */
class Publishing extends EventTarget {
  /** Whether the last answer was none, or one of somebody in trouble. */
  failing = false;

  went(failing) {
    this.failing = failing;
    if (!failing) this.dispatchEvent(new Event("published"));
  }
}

export const publishing = new Publishing();

/** Publishes an event and gives its position. */
export async function publish(channel, type, data, eventId) {
  if (!channel) throw new PublishError(400, "a channel is needed");
  if (/[^\x20-\xff]/.test(type)) throw new PublishError(400, "an event type travels in a header, which carries Latin-1 only");
  try {
    const id = await ask(channel, type, data, eventId);
    publishing.went(false);
    return id;
  } catch (error) {
    publishing.went(error.passes);
    throw error;
  }
}

async function ask(channel, type, data, eventId) {
  const headers = { "Content-Type": "text/plain; charset=utf-8" };
  if (type) headers["Sluice-Event"] = type;
  if (eventId) headers["Idempotency-Key"] = eventId;
  const sent = Date.now();
  let answer;
  let text;
  try {
    const signal = AbortSignal.timeout(ANSWER_LIMIT);
    answer = await fetch(address(publishPath(channel)), { method: "POST", headers, body: data, signal });
    text = await answer.text();
  } catch (error) {
    throw new PublishError(0, error.name === "TimeoutError" ? noAnswer() : `the gateway did not answer (${error.message})`);
  }
  const told = parse(text);
  if (!answer.ok || !told?.id) throw new PublishError(answer.status, told?.detail ?? `${answer.status} from what stands before the gateway`);
  setClock(told.id, sent, Date.now());
  return told.id;
}

/** A trouble that passes is shown for so long at least. */
const SHOWN = 3000;

/** Says why a publish failed. What passes is taken away once a later publish has succeeded. */
export function complain(element, text, error) {
  element.textContent = text;
  if (!error.passes) return;
  const since = performance.now();
  const clear = () => {
    if (element.textContent === text && performance.now() - since < SHOWN) return;
    publishing.removeEventListener("published", clear);
    if (element.textContent === text) element.textContent = "";
  };
  publishing.addEventListener("published", clear);
}

/** What the gateway tells of itself in the page: its own origin, and the Redis behind it, if any. */
export const gateway = document.querySelector('meta[name="sluice-gateway"]').dataset;

/** Whether the page stands where certificates are made by their users, which curl does not trust. */
export const ownCertificate = location.protocol === "https:" && ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

/** The beginning of a curl line for this gateway. */
export const curl = ownCertificate ? "curl -k" : "curl";

/** Tells people who listen to the page instead of looking at it. For what matters, not for every event. */
export function announce(text) {
  at("announcer").textContent = text;
}

/** Makes a button copy what `text` gives. */
export function copies(button, text) {
  const name = button.textContent;
  let restore;
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text())) ? "Copied" : "Not copied";
    announce(button.textContent);
    clearTimeout(restore);
    restore = setTimeout(() => (button.textContent = name), 1500);
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard without TLS, except on localhost: then the old way.
    const area = make("textarea", "unseen", text);
    document.body.append(area);
    const focused = document.activeElement;
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return done;
  }
}

/** A text as one word of a shell. */
export const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
