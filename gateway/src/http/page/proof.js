// The page's own numbered events: published once a second, counted when they come back.

import { at, parse, publish } from "./gateway.js";

const EVERY = 1000;
/** A publish without an answer is repeated with its event id, but not for longer than the gateway remembers ids. */
const GIVE_UP = 240_000;

export function startProof(link, channel) {
  const sender = new Sender(channel);
  const tally = new Tally(sender);
  const show = () => {
    // An event may be back before the answer to its publish is.
    const sent = Math.max(sender.sent, tally.received);
    number("proof-sent", sent);
    number("proof-received", tally.received);
    number("proof-repeated", tally.repeated);
    number("proof-missing", tally.missing.size);
    const waiting = Math.max(0, sent - tally.received - tally.missing.size - tally.told);
    number("waiting", waiting);
    at("waiting").dataset.waiting = String(waiting);
    at("proof-said").textContent = [sender.trouble, tally.told ? `${tally.told} lost, and the gateway said so with a reset.` : ""].join(" ").trim();
    link.dispatchEvent(new CustomEvent("waiting", { detail: waiting }));
  };
  link.addEventListener("heard", ({ detail }) => {
    if (detail.channel !== channel) return;
    const n = parse(detail.data)?.n;
    if (Number.isInteger(n)) tally.take(n);
    show();
  });
  link.addEventListener("reset", ({ detail }) => {
    if (detail.channel === channel) tally.excuseNextGap = true;
  });
  setInterval(async () => {
    await sender.send();
    show();
  }, EVERY);
}

function number(id, value) {
  const text = String(value);
  if (at(id).textContent === text) return;
  at(id).textContent = text;
  at(id).dataset.value = text;
}

/** Publishes 1, 2, 3, …, each until it is acknowledged. */
class Sender {
  sent = 0;
  trouble = "";
  /** Numbers of which nobody knows whether they were published. */
  unknown = new Set();
  #channel;
  #next = 1;
  #busy = false;
  #triedSince = 0;

  constructor(channel) {
    this.#channel = channel;
  }

  async send() {
    if (this.#busy) return;
    this.#busy = true;
    const n = this.#next;
    this.#triedSince ||= performance.now();
    try {
      await publish(this.#channel, "count", JSON.stringify({ n }), `${this.#channel}-${n}`);
      this.sent += 1;
      this.trouble = "";
      this.#goOn();
    } catch (error) {
      this.trouble = `Number ${n} is not published yet: ${error.message}.`;
      if (performance.now() - this.#triedSince > GIVE_UP) {
        this.unknown.add(n);
        this.#goOn();
      }
    } finally {
      this.#busy = false;
    }
  }

  #goOn() {
    this.#next += 1;
    this.#triedSince = 0;
  }
}

/** Looks whether numbers come in order, once each. */
class Tally {
  received = 0;
  repeated = 0;
  missing = new Set();
  /** Missing, but the gateway told so. */
  told = 0;
  excuseNextGap = false;
  #highest = 0;
  #sender;

  constructor(sender) {
    this.#sender = sender;
  }

  take(n) {
    if (n <= this.#highest) {
      if (this.missing.delete(n)) this.received += 1;
      else this.repeated += 1;
      return;
    }
    for (let gap = this.#highest + 1; gap < n; gap++) {
      if (this.#sender.unknown.has(gap)) continue;
      if (this.excuseNextGap) this.told += 1;
      else this.missing.add(gap);
    }
    this.excuseNextGap = false;
    this.#highest = n;
    this.received += 1;
  }
}
