// node eventsource.mjs URL TYPE…: prints what the npm package `eventsource` makes of a stream.
import { EventSource } from "eventsource";

const [url, ...types] = process.argv.slice(2);
const say = (seen) => console.log(JSON.stringify(seen));
const seen = (type, id, data) => say({ kind: "event", type, id, data });

// docs: begin
const stream = new EventSource(url);
stream.onopen = () => say({ kind: "open" });
for (const type of ["message", ...types]) {
  stream.addEventListener(type, (event) => seen(event.type, event.lastEventId, event.data));
}
// It reconnects by itself; only a status other than 200 ends it.
stream.onerror = (error) => {
  say({ kind: stream.readyState === EventSource.CLOSED ? "closed" : "error", text: error.message });
};
// docs: end
