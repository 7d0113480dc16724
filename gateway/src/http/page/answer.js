// A question and its answer: a channel for this one request, read by an EventSource of its own until `done`.

import { ANSWER_LIMIT, address, announce, at, noAnswer, parse, publish, randomName, streamPath } from "./gateway.js";

/** The first token comes within this, or nobody is there to answer. */
const PATIENCE = 8_000;

let current;

export function startAnswers() {
  at("ask-form").addEventListener("submit", (submit) => {
    submit.preventDefault();
    current?.stop();
    current = new Answer(at("question").value.trim());
  });
  addEventListener("pagehide", () => current?.stop());
}

class Answer {
  #channel = `demo.answer.${randomName()}`;
  #question;
  #source;
  #asked = false;
  #ended = false;
  #tokens = 0;
  #late;

  constructor(question) {
    this.#question = question;
    at("answer").replaceChildren();
    this.#state("streaming");
    if (!question) {
      this.#end("idle", "Type a question first.");
      at("question").focus();
      return;
    }
    this.#say(`Listening on ${this.#channel} before the question is asked.`);
    this.#late = setTimeout(() => this.#end("idle", `The question was not sent, as its stream does not open: ${noAnswer()}.`), ANSWER_LIMIT);
    // The stream stands before the question goes out, so the first word cannot be missed.
    this.#source = new EventSource(address(streamPath([this.#channel], {})));
    this.#source.addEventListener("sluice.open", () => this.#ask());
    this.#source.addEventListener("token", (event) => this.#token(event));
    this.#source.addEventListener("done", (event) => this.#done(event));
    this.#source.addEventListener("sluice.reset", () => this.#say("A reset: words may be missing here."));
    this.#source.addEventListener("error", () => this.#lost());
  }

  stop() {
    this.#ended = true;
    clearTimeout(this.#late);
    this.#source?.close();
  }

  async #ask() {
    if (this.#asked) return;
    this.#asked = true;
    clearTimeout(this.#late);
    const data = JSON.stringify({ channel: this.#channel, question: this.#question });
    try {
      await publish("demo.ask", "question", data, this.#channel);
      if (this.#tokens || this.#ended) return;
      this.#late = setTimeout(() => this.#end("idle", "Nobody answered: is the demo backend running?"), PATIENCE);
    } catch (error) {
      this.#end("idle", `The question was not sent: ${error.message}.`);
    }
  }

  #token(event) {
    const text = parse(parse(event.data)?.data ?? "")?.text;
    if (typeof text !== "string") return;
    clearTimeout(this.#late);
    this.#tokens += 1;
    at("answer").append(text);
    at("answer").dataset.tokens = String(this.#tokens);
    this.#say(`${this.#tokens} tokens on ${this.#channel}`);
  }

  // The backend says how many it sent: whoever reads a stream can check that nothing is missing.
  #done(event) {
    const told = parse(parse(event.data)?.data ?? "")?.tokens;
    const sent = Number.isInteger(told) ? told : this.#tokens;
    at("answer").dataset.sent = String(sent);
    this.#end("done", `${this.#tokens} of ${sent} tokens, then done: close() was called on ${this.#channel}.`);
    announce(`The answer: ${at("answer").textContent}`);
  }

  #lost() {
    if (this.#source.readyState === EventSource.CLOSED) this.#end("idle", "The browser has given the answer's stream up.");
    else this.#say(`Connection lost after ${this.#tokens} tokens; the browser comes back and the answer goes on there.`);
  }

  #end(state, text) {
    this.stop();
    this.#state(state);
    this.#say(text);
    if (state === "idle") announce(text);
  }

  #state(state) {
    at("answer").dataset.state = state;
    at("answer").setAttribute("aria-busy", String(state === "streaming"));
    if (state === "streaming") at("answer").dataset.tokens = "0";
  }

  #say(text) {
    at("answer-said").textContent = text;
  }
}
