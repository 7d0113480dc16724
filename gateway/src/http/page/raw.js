// The raw stream: what EventSource does, done by hand with fetch, so that every byte can be shown.

import { address, announce, at, copies, curl, make, quoted, streamPath } from "./gateway.js";

const LINES_MAX = 400;
/** What an EventSource would wait without `retry:`. */
const USUAL_RETRY = 3_000;

let tap;
let channels;

export function startRaw(all) {
  channels = all;
  const choices = [
    ["", "All of this page"],
    ["?", "The one in the form"],
    ...all.map((channel) => [channel, channel]),
  ];
  for (const [value, text] of choices) {
    const choice = make("option", "", text);
    choice.value = value;
    at("raw-channel").append(choice);
  }
  at("raw").addEventListener("click", toggle);
  at("raw-channel").addEventListener("change", reopen);
  at("publish-channel").addEventListener("change", reopenForm);
  at("raw-clear").addEventListener("click", () => at("raw-text").replaceChildren());
  copies(at("raw-curl-copy"), () => at("raw-curl").textContent);
  addEventListener("pagehide", () => tap?.close());
  // Over HTTP/1.1 a browser has six connections per host for all tabs: nobody looks at this one.
  document.addEventListener("visibilitychange", () => (document.hidden ? tap?.close() : tap?.resume()));
}

function reopenForm() {
  if (tap && at("raw-channel").value === "?") reopen();
}

function toggle() {
  const opens = !tap;
  at("raw-panel").hidden = !opens;
  at("raw").setAttribute("aria-expanded", String(opens));
  at("raw").textContent = opens ? "Close the tap" : "Open the tap";
  tap?.close();
  tap = undefined;
  if (opens) reopen();
}

function reopen() {
  tap?.close();
  const chosen = at("raw-channel").value;
  const wanted = chosen === "" ? channels : [chosen === "?" ? at("publish-channel").value.trim() : chosen];
  tap = new Tap(streamPath(wanted, { last: 2 }));
}

/** One stream read by hand, opened again after `retry` when it breaks, with the last id it saw. */
class Tap {
  #path;
  #abort = new AbortController();
  #lastId = "";
  #blockId = "";
  #retry = USUAL_RETRY;
  #bytes = 0;
  #partial = "";
  #timer;

  constructor(path) {
    this.#path = path;
    at("raw-text").replaceChildren();
    at("raw-curl").textContent = `${curl} -N ${quoted(address(path))}`;
    if (!document.hidden) this.#read();
  }

  close() {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  /** After `close`: goes on where it was. */
  resume() {
    this.close();
    this.#abort = new AbortController();
    this.#partial = "";
    this.#blockId = this.#lastId;
    this.#read();
  }

  async #read() {
    const { signal } = this.#abort;
    const headers = { Accept: "text/event-stream" };
    if (this.#lastId) headers["Last-Event-ID"] = this.#lastId;
    this.#line(`GET /${this.#path}`, "request");
    for (const [name, value] of Object.entries(headers)) this.#line(`${name}: ${value}`, "request");
    let why = "the stream ended";
    try {
      const answer = await fetch(address(this.#path), { headers, signal });
      this.#line(`${answer.status} ${answer.headers.get("content-type") ?? ""}`, "answer");
      if (!answer.ok) {
        this.#line((await answer.text()).slice(0, 500), "lost");
        return;
      }
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        this.#bytes += piece.value.length;
        this.#take(decoder.decode(piece.value, { stream: true }));
      }
    } catch (error) {
      why = `the connection broke (${error.message})`;
    }
    if (signal.aborted) return;
    this.#partial = "";
    this.#blockId = this.#lastId;
    this.#line(`${why}; again in ${this.#retry} ms, as retry said`, "lost");
    announce("The raw stream broke and is opened again.");
    this.#timer = setTimeout(() => this.#read(), this.#retry);
  }

  #take(text) {
    const lines = (this.#partial + text).split("\n");
    this.#partial = lines.pop();
    for (const line of lines) {
      const [, field = "", value = ""] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
      if (field === "id") this.#blockId = value;
      // An id counts once its block is whole, as in the browser: a block cut in two must come again.
      if (line === "") this.#lastId = this.#blockId;
      if (field === "retry") this.#retry = Number(value) || USUAL_RETRY;
      this.#line(line, line.startsWith(":") ? "comment" : field || "blank");
    }
    at("raw-said").textContent = `${this.#bytes.toLocaleString("en")} bytes`;
    at("raw-said").dataset.bytes = String(this.#bytes);
  }

  #line(text, kind) {
    const view = at("raw-text");
    const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 24;
    const line = make("span", "", `${text}\n`);
    line.dataset.kind = kind;
    view.append(line);
    while (view.childElementCount > LINES_MAX) view.firstElementChild.remove();
    if (atEnd) view.scrollTop = view.scrollHeight;
  }
}
