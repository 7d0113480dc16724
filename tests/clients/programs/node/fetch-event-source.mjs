// node fetch-event-source.mjs URL: prints what `@microsoft/fetch-event-source` makes of a stream.
import { fetchEventSource } from "@microsoft/fetch-event-source";

const [url] = process.argv.slice(2);
const say = (seen) => console.log(JSON.stringify(seen));
const seen = (type, id, data) => say({ kind: "event", type, id, data });

// Made for browsers, it reaches for these two.
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };

// docs: begin
const headers = {};
let retry = 1000;
for (;;) {
  // It reconnects by itself after an error, and is done when the server ends the stream: go round.
  await fetchEventSource(url, {
    headers,
    openWhenHidden: true,
    onopen: async () => say({ kind: "open" }),
    onmessage: (event) => {
      if (event.id) headers["last-event-id"] = event.id;
      retry = event.retry ?? retry;
      seen(event.event || "message", event.id, event.data);
    },
    onerror: (error) => say({ kind: "error", text: String(error) }),
  });
  say({ kind: "closed" });
  await new Promise((resolve) => setTimeout(resolve, retry));
}
// docs: end
