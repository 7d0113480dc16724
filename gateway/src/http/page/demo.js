// The demo page: one EventSource for all channels of the demo and one of the page's own; panels that show what comes.

import { startAnswers } from "./answer.js";
import { startChart } from "./chart.js";
import { startGate } from "./gate.js";
import { announce, at, brokerNow, copies, gateway, ownCertificate, publishing, randomName } from "./gateway.js";
import { Link } from "./link.js";
import { startPanels } from "./panels.js";
import { startProof } from "./proof.js";
import { startPublish } from "./publish.js";
import { startRaw } from "./raw.js";
import { startStrip } from "./strip.js";

const DEMO = ["demo.prices", "demo.likes", "demo.notices", "demo.jobs", "demo.log"];
const OWN = `demo.page.${randomName()}`;
/** A named event reaches only listeners of its name, so all of them are known beforehand. */
const TYPES = ["price", "likes", "notice", "progress", "finished", "line", "count", "message"];
/** Without a price for so long, there is no demo backend. */
const SILENCE = 5000;

const link = new Link([...DEMO, OWN], TYPES);

function watchBackend() {
  let heardAt = performance.now();
  link.addEventListener("heard", ({ detail }) => {
    // What history replays says nothing about who is there now.
    if (detail.channel !== "demo.prices" || detail.at < brokerNow() - SILENCE) return;
    heardAt = performance.now();
    at("backend").hidden = true;
  });
  link.addEventListener("opened", () => (heardAt = performance.now()));
  setInterval(() => {
    // Where nothing can be published, a backend cannot either.
    if (publishing.failing) heardAt = performance.now();
    if (!at("backend").hidden || link.state !== "open" || performance.now() - heardAt < SILENCE) return;
    at("backend").hidden = false;
    announce("No demo backend is heard. How to start one is told in the section on the connection.");
  }, 500);
  const command = `sluice demo --gateway ${ownCertificate ? gateway.origin : location.origin}`;
  at("backend-command").textContent = command;
  copies(at("backend-copy"), () => command);
}

startStrip(link);
startGate(link);
startProof(link, OWN);
startPanels(link);
startChart(link);
startAnswers();
startPublish();
startRaw([...DEMO, OWN]);
watchBackend();
link.open();

// A page that goes into the browser's cache lets its stream go, and comes back where it was.
addEventListener("pagehide", () => link.leave());
addEventListener("pageshow", (event) => {
  if (event.persisted) link.open();
});
