// The page's one EventSource: opened, lost, found again, closed on purpose. Whoever wants to know listens.

import { address, brokerNow, parse, streamPath, timeOf } from "./gateway.js";

/** Kept events of each channel that fill the page when it opens. */
const FILL = 30;
/** Until a stream has said what it asks for: the gateway's default. */
const USUAL_RETRY = 3000;

/**
 * States: connecting, open, reconnecting, offline (on purpose), closed (the browser has given up).
 * Dispatches `state`, `opened`, `heard`, `reset` and `close`, each a CustomEvent with details.
 */
export class Link extends EventTarget {
  state = "connecting";
  cursor = "";
  node = "";
  /** When the browser is about to try again, in `performance.now()` time. */
  nextTry = 0;
  /** When the connection was lost, by Redis's clock; nothing while it is there. */
  lostAt;
  #channels;
  #types;
  #source;
  #retry = USUAL_RETRY;
  #learnt = false;
  #everOpen = false;

  constructor(channels, types) {
    super();
    this.#channels = channels;
    this.#types = types;
  }

  /** Opens the stream: at first with kept events, later right after the cursor. */
  open() {
    this.#source?.close();
    const start = this.cursor ? { last_event_id: this.cursor } : { last: FILL };
    const source = new EventSource(address(streamPath(this.#channels, start)));
    this.#source = source;
    source.addEventListener("error", () => this.#lost());
    source.addEventListener("sluice.open", (event) => this.#placed(event));
    source.addEventListener("sluice.reset", (event) => this.#told("reset", event));
    source.addEventListener("sluice.close", (event) => this.#told("close", event));
    for (const type of this.#types) source.addEventListener(type, (event) => this.#heard(event));
    this.#become("connecting");
  }

  /** Closes the stream and keeps the cursor. */
  leave() {
    this.#source?.close();
    this.lostAt ??= brokerNow();
    this.#become("offline");
  }

  #become(state) {
    this.state = state;
    this.#tell("state", {});
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // A refusal is a 200 too, with `sluice.close` alone: only `sluice.open` means that the stream stands.
  #opened() {
    const away = this.lostAt;
    this.lostAt = undefined;
    this.#tell("opened", { first: !this.#everOpen, from: away, to: brokerNow() });
    this.#everOpen = true;
    this.#become("open");
  }

  // The browser says neither why nor how long it will wait: it tries again by itself unless it is CLOSED.
  #lost() {
    this.lostAt ??= brokerNow();
    const gaveUp = this.#source.readyState === EventSource.CLOSED;
    this.nextTry = performance.now() + this.#retry;
    this.#become(gaveUp ? "closed" : this.#everOpen ? "reconnecting" : "connecting");
  }

  #placed(event) {
    this.cursor = event.lastEventId || this.cursor;
    const { node = "", channels = {} } = parse(event.data) ?? {};
    this.node = node;
    this.#tell("placed", { channels });
    this.#opened();
    if (!this.#learnt) this.#learnRetry();
  }

  #told(name, event) {
    this.cursor = event.lastEventId || this.cursor;
    this.#tell(name, parse(event.data) ?? {});
  }

  #heard(event) {
    this.cursor = event.lastEventId || this.cursor;
    const { channel, id, type, data } = parse(event.data) ?? {};
    this.#tell("heard", { channel, type, data: data ?? "", at: timeOf(id) ?? brokerNow() });
  }

  // `retry:` is for the browser only; no page can ask an EventSource for it. A short look with fetch can. Each
  // stream gets its own, jittered, so the countdown is "about".
  async #learnRetry() {
    this.#learnt = true;
    const look = new AbortController();
    const giveUp = setTimeout(() => look.abort(), 5000);
    try {
      const path = streamPath([this.#channels[0]], {});
      const answer = await fetch(address(path), { headers: { Accept: "text/event-stream" }, signal: look.signal });
      let text = "";
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        text += piece.value;
        const retry = /^retry: (\d+)\n/m.exec(text);
        if (retry) this.#retry = Number(retry[1]);
        if (retry || text.length > 10000) break;
      }
    } catch {
      // The usual one will do.
    } finally {
      clearTimeout(giveUp);
      look.abort();
    }
  }
}
