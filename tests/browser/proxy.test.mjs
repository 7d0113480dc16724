// What nginx would do to a stream, and why it does not: each promise beside the fault that it is kept against.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { CLOSED, CONNECTING, OPEN, Reader, launch, texts } from './browser.mjs';
import { Publisher, Stack } from './stack.mjs';

const LONG = { SLUICE__STREAM__HEARTBEAT: '5m' };
const SHORT = { SLUICE__STREAM__HEARTBEAT: '300ms' };
const FULL = { SLUICE__LIMITS__CONNECTIONS: '1', SLUICE__STREAM__OVERLOAD_RETRY: '300ms' };
// So few that they do not fill nginx's first buffer (proxy_buffer_size, 4 KiB).
const SMALL = 10;

let stack;
let browser;

before(async () => {
  const fronts = {
    quiet: { nodes: [0], readTimeout: '1s' },
    beating: { nodes: [1], readTimeout: '1s' },
    // Over HTTP/1.1 nginx passes on each chunk as it comes; it is the HTTP/1.0 of its defaults that it collects.
    buffering: { nodes: [0], proxyDefaults: true, ignoreAccelBuffering: true },
    standard: { nodes: [0], proxyDefaults: true },
    full: { nodes: [2] },
    gone: { nodes: [3] },
  };
  [stack, browser] = await Promise.all([Stack.start({ gateways: [LONG, SHORT, FULL, {}], fronts }), launch()]);
});
after(async () => {
  await browser?.close();
  await stack?.end();
});

async function tab(t, front) {
  const context = await browser.newContext();
  t.after(() => context.close());
  return Reader.open(context, stack.origins[front]);
}

test("a quiet stream outlives nginx's read timeout by its heartbeat, without which the same timeout cuts it", async (t) => {
  const [beating, quiet] = [await tab(t, 'beating'), await tab(t, 'quiet')];
  await beating.read('/v1/events?channel=quiet');
  await beating.until('sluice.open');
  await quiet.read('/v1/events?channel=quiet');
  // The stream that is cut is the clock: three times the timeout.
  await quiet.until('error', 3);
  const cut = await stack.nginx.untilLogged('the cuts', (request) => request.front === 'quiet' && request.path.includes('channel=quiet'), 3);
  for (const { seconds } of cut) assert.ok(Number(seconds) >= 0.9 && Number(seconds) < 2, `cut after ${seconds} s`);

  assert.equal(await beating.readyState(), OPEN);
  assert.deepEqual(texts(await beating.seen(), 'error'), []);
  assert.equal((await beating.seenOf('open')).length, 1, 'one stream, never opened again');
  await stack.publish('quiet', '', 'after the silence');
  await beating.untilData('message', 'after the silence');
  await quiet.untilData('message', 'after the silence');
});

test('as nginx comes it delivers at once because the answer says X-Accel-Buffering: no, and holds all back when it ignores that', async (t) => {
  const [standard, buffering] = [await tab(t, 'standard'), await tab(t, 'buffering')];
  await buffering.read('/v1/events?channel=buffers');
  await stack.gateways[0].untilStreams(1);
  const begun = await standard.page.evaluate(() => performance.now());
  await standard.read('/v1/events?channel=buffers');
  const { at } = await standard.until('sluice.open');
  assert.ok(at - begun < 1000, `opened after ${at - begun} ms`);

  for (let number = 1; number <= SMALL; number += 1) {
    const sent = await standard.page.evaluate(() => performance.now());
    await stack.publish('buffers', '', `small ${number}`);
    await standard.untilData('message', `small ${number}`);
    const took = (await standard.seenOf('message')).at(-1).at - sent;
    assert.ok(took < 1000, `small ${number} came after ${took} ms`);
  }
  assert.equal(await stack.gateways[0].metric('sluice_connections'), 2, 'the gateway has both streams');
  assert.equal(await buffering.readyState(), CONNECTING, 'nginx holds back even the headers');
  assert.deepEqual(await buffering.seen(), []);

  // It was the buffers: once they are full, it all comes.
  const publisher = new Publisher(stack, 'buffers', '', 0);
  t.after(() => publisher.stop());
  await buffering.untilData('message', `small ${SMALL}`);
});

test('a full node answers 200 and sluice.close, and the browser comes in by itself once there is room', async (t) => {
  const [first, second] = [await tab(t, 'full'), await tab(t, 'full')];
  await first.read('/v1/events?channel=full');
  await first.until('sluice.open');
  await second.read('/v1/events?channel=full');
  const close = await second.until('sluice.close', 3);
  assert.equal(close.data, '{"reason":"overload"}');
  assert.deepEqual(texts(await second.seen(), 'sluice.open'), [], 'refused three times');
  assert.ok((await stack.gateways[2].metric('sluice_connections_rejected_total', 'overload')) >= 3);

  await first.close();
  await second.until('sluice.open');
  await stack.publish('full', '', 'there is room');
  await second.untilData('message', 'there is room');
  const seen = await second.seen();
  assert.ok(seen.every((event) => event.state !== CLOSED));
  assert.equal(await second.readyState(), OPEN);
  const answers = stack.nginx.requests().filter((request) => request.front === 'full');
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], ['200']);
});

/** Opens a stream that will be refused, and shows that the browser has given up: CLOSED, after one request. */
async function refused(reader, url, front, status) {
  const number = await reader.read(url);
  await reader.untilState(CLOSED, number);
  assert.deepEqual((await reader.seen(number)).map(({ type, state }) => [type, state]), [['error', CLOSED]]);
  const path = url.slice(0, 200);
  const matches = (request) => request.front === front && request.path === path;
  const [logged] = await stack.nginx.untilLogged(`${status} for ${url}`, matches);
  assert.equal(logged.status, String(status));
  // A second stream, opened and read, is the time in which a retry would have come.
  return () => assert.equal(stack.nginx.requests('/').filter(matches).length, 1, `${url} was not tried again`);
}

test('a native EventSource gives up for good on 204, on a bad request and when nginx has no node left', async (t) => {
  const reader = await tab(t, 'gone');
  const checks = [
    await refused(reader, '/stop', 'gone', 204),
    await refused(reader, '/v1/events', 'gone', 400),
    await refused(reader, '/v1/events?channel=_reserved', 'gone', 400),
  ];
  await stack.gateways[3].child.end();
  checks.push(await refused(reader, '/v1/events?channel=gone', 'gone', 502));
  await stack.gateways[3].start();
  const number = await reader.read('/v1/events?channel=gone&again');
  await reader.until('sluice.open', 1, number);
  await stack.publish('gone', '', 'back');
  await reader.untilData('message', 'back', number);
  assert.deepEqual(await reader.readyStates(), [CLOSED, CLOSED, CLOSED, CLOSED, OPEN]);
  for (const check of checks) check();
});
