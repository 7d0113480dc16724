// node launchdarkly-eventsource.mjs URL TYPE…: prints what the npm package `launchdarkly-eventsource` makes of a stream.
import { EventSource } from "launchdarkly-eventsource";

const [url, ...types] = process.argv.slice(2);
const say = (seen) => console.log(JSON.stringify(seen));
const seen = (type, id, data) => say({ kind: "event", type, id, data });

// docs: begin
const stream = new EventSource(url);
stream.onopen = () => say({ kind: "open" });
for (const type of ["message", ...types]) {
  stream.addEventListener(type, (event) => seen(event.type, event.lastEventId, event.data));
}
stream.onerror = (error) => say({ kind: "error", text: error.message });
stream.onend = () => say({ kind: "closed" });
// docs: end
