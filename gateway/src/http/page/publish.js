// Publishing what people type, and the same as lines for a terminal.

import { address, at, copies, publish, publishPath, quoted } from "./gateway.js";

export function startPublish() {
  at("publish-form").addEventListener("submit", send);
  for (const id of ["publish-channel", "publish-type", "publish-data"]) at(id).addEventListener("input", showLines);
  copies(at("publish-curl-copy"), () => at("publish-curl").textContent);
  copies(at("publish-redis-copy"), () => at("publish-redis").textContent);
  showLines();
}

const typed = () => ({
  channel: at("publish-channel").value.trim(),
  type: at("publish-type").value.trim(),
  data: at("publish-data").value,
});

function showLines() {
  const { channel, type, data } = typed();
  const header = type ? ` -H ${quoted(`Sluice-Event: ${type}`)}` : "";
  at("publish-curl").textContent = `curl${header} --data-raw ${quoted(data)} ${quoted(address(publishPath(channel)))}`;
  const keys = [`sluice:{${channel}}:s`, `sluice:{${channel}}:m`].map(quoted).join(" ");
  at("publish-redis").textContent = `redis-cli FCALL sluice_publish 2 ${keys} ${quoted(type)} ${quoted(data)}`;
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
    say(error.status ? `Refused (${error.status}): ${error.message}` : `Not sent: ${error.message}.`, "refused");
  } finally {
    sending = false;
  }
}

function say(text, outcome) {
  at("publish-said").textContent = text;
  at("publish-said").dataset.outcome = outcome;
}
