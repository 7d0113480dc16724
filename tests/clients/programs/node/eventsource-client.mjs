// node eventsource-client.mjs URL: prints what the npm package `eventsource-client` makes of a stream.
import { createEventSource } from "eventsource-client";

const [url] = process.argv.slice(2);
const say = (seen) => console.log(JSON.stringify(seen));
const seen = (type, id, data) => say({ kind: "event", type, id, data });

// docs: begin
const stream = createEventSource({
  url,
  onConnect: () => say({ kind: "open" }),
  onDisconnect: () => say({ kind: "error", text: "disconnected" }),
});
for await (const { event, id, data } of stream) {
  seen(event ?? "message", id, data);
}
// docs: end
say({ kind: "closed" });
