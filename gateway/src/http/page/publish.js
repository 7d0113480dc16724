// Publishing what people type, and the same as lines for a terminal.

import { address, at, complain, copies, curl, gateway, publish, publishPath, quoted } from "./gateway.js";

export function startPublish() {
  at("publish-form").addEventListener("submit", send);
  for (const id of ["publish-channel", "publish-type", "publish-data"]) at(id).addEventListener("input", showLines);
  copies(at("publish-curl-copy"), () => at("publish-curl").textContent);
  copies(at("publish-redis-copy"), () => at("publish-redis").textContent);
  // The embedded broker is no Redis.
  at("publish-redis-line").hidden = !gateway.redisHost;
  showLines();
}

/** The Redis that the gateway uses, as `redis-cli` is told; what it takes anyway is left out. */
function redisPlace() {
  const { redisHost, redisPort, redisDatabase, redisPassword } = gateway;
  const parts = [
    ["127.0.0.1", "localhost"].includes(redisHost) ? "" : ` -h ${redisHost}`,
    redisPort === "6379" ? "" : ` -p ${redisPort}`,
    redisDatabase === "0" ? "" : ` -n ${redisDatabase}`,
    redisPassword ? " --askpass" : "",
  ];
  return parts.join("");
}

const typed = () => ({
  channel: at("publish-channel").value.trim(),
  type: at("publish-type").value.trim(),
  data: at("publish-data").value,
});

function showLines() {
  const { channel, type, data } = typed();
  const header = type ? ` -H ${quoted(`Sluice-Event: ${type}`)}` : "";
  at("publish-curl").textContent = `${curl}${header} --data-raw ${quoted(data)} ${quoted(address(publishPath(channel)))}`;
  const keys = ["s", "m"].map((kind) => `${gateway.redisPrefix}{${channel}}:${kind}`).map(quoted).join(" ");
  at("publish-redis").textContent = `redis-cli${redisPlace()} FCALL sluice_publish 2 ${keys} ${quoted(type)} ${quoted(data)}`;
}

let sending = false;

async function send(submit) {
  submit.preventDefault();
  const { channel, type, data } = typed();
  if (sending) return;
  sending = true;
  try {
    const id = await publish(channel, type, data);
    say(`Published at ${id} on ${channel}.`, "published");
  } catch (error) {
    const text = error.passes ? `Not confirmed: ${error.message}.` : `Refused (${error.status}): ${error.message}`;
    complain(at("publish-said"), text, error);
    at("publish-said").dataset.outcome = "refused";
  } finally {
    sending = false;
  }
}

function say(text, outcome) {
  at("publish-said").textContent = text;
  at("publish-said").dataset.outcome = outcome;
}
