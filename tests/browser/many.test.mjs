// How many streams one browser holds to one host.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { CONNECTING, OPEN, Reader, launch, texts } from './browser.mjs';
import { until } from './processes.mjs';
import { Stack } from './stack.mjs';

const STREAMS = 20;
// What browsers open to one host over HTTP/1.1, tabs included.
const SOCKETS_PER_HOST = 6;

let stack;
let browser;

before(async () => {
  const fronts = { plain: {}, tls: { tls: true } };
  [stack, browser] = await Promise.all([Stack.start({ gateways: [{}, {}, {}], fronts }), launch()]);
});
after(async () => {
  await browser?.close();
  await stack?.end();
});

async function tabWithStreams(t, front) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  t.after(() => context.close());
  const reader = await Reader.open(context, stack.origins[front]);
  for (let number = 0; number < STREAMS; number += 1) await reader.read(`/v1/events?channel=${front}.${number}`);
  return reader;
}

const count = (states, wanted) => states.filter((state) => state === wanted).length;

test('20 EventSources of one page are open at once over HTTP/2 with TLS, and each receives', async (t) => {
  const reader = await tabWithStreams(t, 'tls');
  await until('all are open', async () => count(await reader.readyStates(), OPEN) === STREAMS);
  await stack.untilStreams(STREAMS);
  for (let number = 0; number < STREAMS; number += 1) await stack.publish(`tls.${number}`, '', `to ${number}`);
  for (let number = 0; number < STREAMS; number += 1) {
    await reader.untilData('message', `to ${number}`, number);
    assert.deepEqual(texts(await reader.seen(number), 'message'), [`to ${number}`]);
    assert.deepEqual(texts(await reader.seen(number), 'error'), []);
  }
  assert.equal(count(await reader.readyStates(), OPEN), STREAMS);
  await reader.page.close();
  const ended = await stack.nginx.untilLogged('the streams', (request) => request.path.includes('channel=tls.'), STREAMS);
  assert.deepEqual(new Set(ended.map(({ protocol }) => protocol)), new Set(['HTTP/2.0']));
});

test('over HTTP/1.1 only 6 of 20 open; the others, and every other request, wait until one closes', async (t) => {
  const reader = await tabWithStreams(t, 'plain');
  await until('6 are open', async () => count(await reader.readyStates(), OPEN) === SOCKETS_PER_HOST);
  await stack.untilStreams(SOCKETS_PER_HOST);
  // Another host's answers come meanwhile: it is this host's sockets that are taken.
  const overtaken = await reader.page.evaluate(async (elsewhere) => {
    let answered = false;
    window.waiting = fetch('/pages/other.html').then(({ status }) => {
      answered = true;
      return status;
    });
    for (let times = 0; times < 5; times += 1) await fetch(elsewhere, { mode: 'no-cors' });
    return !answered;
  }, `http://localhost:${new URL(stack.origins.plain).port}/pages/other.html`);
  assert.ok(overtaken, 'any other request to the host waits too');
  const states = await reader.readyStates();
  assert.equal(count(states, OPEN), SOCKETS_PER_HOST);
  assert.equal(count(states, CONNECTING), STREAMS - SOCKETS_PER_HOST);
  assert.equal(await stack.streams(), SOCKETS_PER_HOST);

  for (const [number, state] of states.entries()) if (state === OPEN) await reader.close(number);
  await until('the next are open', async () => count(await reader.readyStates(), OPEN) >= SOCKETS_PER_HOST - 1);
  const late = (await reader.readyStates()).findIndex((state) => state === OPEN);
  await stack.publish(`plain.${late}`, '', 'late');
  await reader.untilData('message', 'late', late);
  for (let number = 0; number < STREAMS; number += 1) await reader.close(number);
  assert.equal(await reader.page.evaluate(() => window.waiting), 200);
});
