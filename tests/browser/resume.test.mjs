// A native EventSource behind nginx, three nodes and what can happen to them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { CLOSED, CONNECTING, OPEN, Reader, assertSame, launch, texts } from './browser.mjs';
import { until } from './processes.mjs';
import { Publisher, Stack } from './stack.mjs';

let stack;
let browser;

before(async () => {
  [stack, browser] = await Promise.all([Stack.start({ gateways: [{}, {}, {}], fronts: { main: {}, product: { product: true } } }), launch()]);
});
after(async () => {
  await browser?.close();
  await stack?.end();
});

/** A new tab in a profile of its own. */
async function tab(t, front = 'main') {
  const context = await browser.newContext();
  t.after(() => context.close());
  return Reader.open(context, stack.origins[front]);
}

/** The node that serves the stream, as `sluice.open` names it. */
async function servedBy(reader, opens = 1) {
  const open = await reader.until('sluice.open', opens);
  const { node } = JSON.parse(open.data);
  return stack.gatewayNamed(node);
}

test('opens and receives named and unnamed events, many lines and UTF-8 as they were published', async (t) => {
  const reader = await tab(t);
  await reader.read('/v1/events?channel=kinds', { types: ['order.created'] });
  const gateway = await servedBy(reader);
  assert.equal(await gateway.metric('sluice_connections'), 1);
  const open = (await reader.seenOf('sluice.open'))[0];
  assert.deepEqual(JSON.parse(open.data).channels, { kinds: 'live' });

  const text = 'Grüße 👋🏽\n\n{"two": "lines"}\r\n  the last, 漢字 ';
  const ids = [
    await stack.publish('kinds', 'order.created', '{"id":1}'),
    await stack.publish('kinds', '', 'plain'),
    await stack.publish('kinds', 'order.created', text),
    await stack.publish('kinds', '', ''),
    await stack.publish('kinds', '', 'last'),
  ];
  await reader.untilData('message', 'last');
  const seen = (await reader.seen()).filter((event) => ['message', 'order.created'].includes(event.type));
  assert.deepEqual(seen.map(({ type, data, id }) => [type, data, id]), [
    ['order.created', '{"id":1}', ids[0]],
    ['message', 'plain', ids[1]],
    ['order.created', text.replace('\r\n', '\n'), ids[2]],
    ['message', '', ids[3]],
    ['message', 'last', ids[4]],
  ]);
  assert.deepEqual(texts(await reader.seen(), 'error'), []);
});

test('survives kill -9 of its node: the browser resumes on another by its own Last-Event-ID, nothing lost or repeated', async (t) => {
  const reader = await tab(t);
  await reader.read('/v1/events?channel=kill', { types: ['tick'] });
  const gateway = await servedBy(reader);
  assert.equal(await gateway.metric('sluice_connections'), 1, 'this very node serves the stream');
  const publisher = new Publisher(stack, 'kill', 'tick');
  t.after(() => publisher.stop());
  await reader.until('tick', 20);

  const { signal } = await gateway.child.end('SIGKILL');
  assert.equal(signal, 'SIGKILL');
  assert.equal(gateway.child.isAlive(), false);
  await assert.rejects(fetch(`http://127.0.0.1:${gateway.port}/`), 'nobody listens there any more');

  const other = await servedBy(reader, 2);
  assert.notEqual(other, gateway);
  await publisher.untilMore(20);
  const sent = await publisher.stop();
  await reader.untilData('tick', sent.at(-1));
  await reader.close();
  const seen = await reader.seen();
  assertSame(texts(seen, 'tick'), sent);
  assert.deepEqual(texts(seen, 'sluice.reset'), []);
  const error = seen.findIndex((event) => event.type === 'error');
  assert.equal(seen[error].state, CONNECTING, 'it reconnects, it has not given up');

  const lastBefore = seen.slice(0, error).at(-1).id;
  assert.deepEqual(await reader.lastEventIds(), [null, lastBefore], 'the browser sent what it had seen last');
  const logged = (request) => request.path.endsWith('channel=kill') && request.lastEventId === lastBefore;
  const [resumed] = await stack.nginx.untilLogged('the resumed stream', logged);
  assert.ok(resumed.upstream.endsWith(`:${other.port}`), `${resumed.upstream} ends with the other node`);
  assert.equal(JSON.parse(seen.filter((event) => event.type === 'sluice.open')[1].data).channels.kill, 'resumed');
  await gateway.start();
});

test('survives a drain of its node: told sluice.close, on another node in a moment, nothing lost, never CLOSED', async (t) => {
  const reader = await tab(t);
  await reader.read('/v1/events?channel=drain', { types: ['tick'] });
  const gateway = await servedBy(reader);
  const publisher = new Publisher(stack, 'drain', 'tick');
  t.after(() => publisher.stop());
  await reader.until('tick', 20);

  const { code } = await gateway.child.end('SIGTERM');
  assert.equal(code, 0, 'the node left of its own accord');
  await until('another node serves the stream', async () => {
    const last = (await reader.seenOf('sluice.open')).at(-1);
    return !gateway.isNamed(JSON.parse(last.data).node);
  });
  await publisher.untilMore(20);
  const sent = await publisher.stop();
  await reader.untilData('tick', sent.at(-1));
  const seen = await reader.seen();
  assertSame(texts(seen, 'tick'), sent);
  assert.deepEqual(texts(seen, 'sluice.reset'), []);
  assert.deepEqual([...new Set(texts(seen, 'sluice.close'))], ['{"reason":"drain"}']);
  assert.ok(seen.every((event) => event.state !== CLOSED));
  assert.equal(await reader.readyState(), OPEN);
  const [first, second] = await reader.lastEventIds();
  assert.equal(first, null);
  assert.equal(second, seen.find((event) => event.type === 'sluice.close').id, 'it came back with the place it was told');
  await gateway.start();
});

test('behind deploy/lb/nginx it outlives even all nodes: told to wait, it resumes with what was published meanwhile', async (t) => {
  const reader = await tab(t, 'product');
  await reader.read('/v1/events?channel=all', { types: ['tick'] });
  await reader.until('sluice.open');
  const first = await stack.publish('all', 'tick', 'before');
  await reader.untilData('tick', 'before');

  await Promise.all(stack.gateways.map((gateway) => gateway.child.end()));
  assert.ok(stack.gateways.every((gateway) => !gateway.child.isAlive()));
  const close = await reader.until('sluice.close');
  assert.deepEqual([close.data, close.id], ['{"reason":"unavailable"}', first]);
  await stack.publish('all', 'tick', 'while nobody served');
  await Promise.all(stack.gateways.map((gateway) => gateway.start()));

  await reader.untilData('tick', 'while nobody served');
  const seen = await reader.seen();
  assert.deepEqual(texts(seen, 'tick'), ['before', 'while nobody served']);
  assert.deepEqual(texts(seen, 'sluice.reset'), []);
  assert.ok(seen.every((event) => event.state !== CLOSED));
});

test('is shown a reset when history was trimmed while it was away, and goes on from there', async (t) => {
  const reader = await tab(t);
  await reader.read('/v1/events?channel=trimmed', { types: ['tick'] });
  await reader.until('sluice.open');
  const from = await stack.publish('trimmed', 'tick', 'before');
  await reader.untilData('tick', 'before');

  await stack.nginx.stop();
  await reader.until('error');
  let head;
  for (const text of ['away 1', 'away 2', 'away 3']) head = await stack.publish('trimmed', 'tick', text);
  assert.equal(await stack.redis.xtrim('sluice:{trimmed}:s', 'MAXLEN', 1), 3, 'the history is short now');
  // The nodes still hold the events in memory; started anew they have only what Redis can prove.
  await Promise.all(stack.gateways.map((gateway) => gateway.child.end()));
  await Promise.all(stack.gateways.map((gateway) => gateway.start()));
  await stack.nginx.start();

  const reset = await reader.until('sluice.reset');
  assert.deepEqual(JSON.parse(reset.data), { channel: 'trimmed', reason: 'trimmed', from, to: head });
  assert.equal(reset.id, head);
  const after = await stack.publish('trimmed', 'tick', 'after');
  await reader.untilData('tick', 'after');
  const seen = await reader.seen();
  assert.deepEqual(texts(seen, 'tick'), ['before', 'after']);
  assert.equal(seen.at(-1).id, after);
  assert.equal(texts(seen, 'sluice.reset').length, 1, 'told once');
});

/** A tab in a browser of its own that keeps pages in its back/forward cache for `seconds`, or not at all. */
async function cachingTab(t, seconds) {
  const keep = `--enable-features=LoadingTasksUnfreezable:grace_period_to_finish_loading_in_seconds/${seconds}`;
  const own = await launch(seconds > 0 ? { without: ['--disable-back-forward-cache'], args: [keep] } : {});
  t.after(() => own.close());
  const reader = await Reader.open(await own.newContext(), stack.origins.main, '?read=/v1/events?channel=left');
  await reader.until('sluice.open');
  await stack.untilStreams(1);
  await reader.page.evaluate(() => {
    window.isTheFirst = true;
  });
  await reader.page.goto(`${stack.origins.main}/pages/other.html`);
  return reader;
}

async function back(reader, isTheFirst) {
  // Playwright's own goBack waits for a load, which a page from the cache does not have.
  // After the answer to this call, which would be lost with the page.
  await reader.page.evaluate(() => void setTimeout(() => history.back()));
  await until('the first page is shown again', () => reader.page.evaluate(() => typeof read === 'function').catch(() => false));
  assert.equal(await reader.page.evaluate(() => window.isTheFirst === true), isTheFirst);
}

test('a page that is left frees its stream, opens it anew when it is back, and a closed tab frees it', async (t) => {
  const reader = await cachingTab(t, 0);
  await stack.untilStreams(0);
  await back(reader, false);
  await reader.until('sluice.open');
  await stack.untilStreams(1);
  await reader.page.close();
  await stack.untilStreams(0);
});

test('a page that Chromium keeps in its back/forward cache has missed nothing when it is shown again', async (t) => {
  const reader = await cachingTab(t, 60);
  await stack.publish('left', '', 'while it was away');
  assert.equal(await stack.streams(), 1, 'the cached page keeps its stream');
  await back(reader, true);
  await reader.untilData('message', 'while it was away');
  assert.deepEqual(texts(await reader.seen(), 'error'), []);
});

test('a page that Chromium drops from its back/forward cache frees its stream', async (t) => {
  const reader = await cachingTab(t, 1);
  await stack.untilStreams(0);
  await back(reader, false);
  await reader.until('sluice.open');
  await stack.untilStreams(1);
});
