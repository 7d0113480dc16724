// The programs of docs/eventsource.md do what the page says, as they are printed there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { launch } from './browser.mjs';
import { until } from './processes.mjs';
import { Stack } from './stack.mjs';
import { JWT, token } from './token.mjs';

const PAGE = readFileSync(new URL('../../docs/eventsource.md', import.meta.url), 'utf8');
const PROGRAMS = new Map([...PAGE.matchAll(/<!-- run: (\w+) -->\n```js\n(.*?)```/gs)].map(([, name, code]) => [name, code]));
// What the programs call, to be looked at.
const CALLED = `
  const told = [];
  const [show, refetch, explain, append] = ['show', 'refetch', 'explain', 'append'].map((name) => (value) => told.push([name, value]));
  const draw = (bytes) => told.push(['draw', [...bytes]]);
`;
const WAIT_MS = 15_000;

let stack;
let browser;
const ran = new Set();

before(async () => {
  const fronts = { main: { nodes: [0, 1] }, tokens: { nodes: [2] } };
  [stack, browser] = await Promise.all([Stack.start({ gateways: [{}, {}, JWT], fronts }), launch()]);
});
after(async () => {
  await browser?.close();
  await stack?.end();
});

/** A page that has run `prelude` and then the program of this name. */
async function run(context, name, prelude = '', front = 'main') {
  const page = await context.newPage();
  await page.goto(`${stack.origins[front]}/pages/other.html`);
  await start(page, name, prelude);
  return page;
}

async function start(page, name, prelude = '') {
  ran.add(name);
  await page.addScriptTag({ content: CALLED + prelude + PROGRAMS.get(name) });
}

async function untilTold(page, expected) {
  const enough = (count) => told.length >= count;
  await page.waitForFunction(enough, expected.length, { polling: 30, timeout: WAIT_MS }).catch(() => {});
  assert.deepEqual(await page.evaluate(() => told), expected);
}

async function untilOpen(count) {
  await stack.untilStreams(count);
}

async function context(t) {
  await untilOpen(0);
  const made = await browser.newContext();
  t.after(() => made.close());
  return made;
}

test('the whole client shows what comes and refetches after a reset', async (t) => {
  const page = await run(await context(t), 'whole');
  await untilOpen(1);
  await stack.publish('orders', 'order.created', '{"id":1}');
  await stack.publish('orders', '', 'plain');
  const before = [['show', { id: 1 }], ['show', 'plain']];
  await untilTold(page, before);
  await stack.redis.call('DEL', 'sluice:{orders}:s', 'sluice:{orders}:m');
  await stack.publish('orders', '', 'of another chain');
  await stack.publish('orders', '', 'after it');
  await page.waitForFunction(() => told.some(([name]) => name === 'refetch'), undefined, { timeout: WAIT_MS });
  assert.deepEqual((await page.evaluate(() => told)).slice(0, 3), [...before, ['refetch', 'orders']]);
});

test('a refusal that is final is asked for its reason', async (t) => {
  const page = await run(await context(t), 'refused', 'const source = new EventSource("/v1/events?channel=a/b");');
  await page.waitForFunction(() => told.length > 0, undefined, { timeout: WAIT_MS });
  const [[name, problem]] = await page.evaluate(() => told);
  assert.deepEqual([name, problem.code, problem.status], ['explain', 'bad_channel', 400]);
});

test('a reloaded page goes on where it stopped', async (t) => {
  const page = await run(await context(t), 'reload');
  await untilOpen(1);
  await stack.publish('orders', '', 'before');
  await untilTold(page, [['show', 'before']]);
  await page.goto(`${stack.origins.main}/pages/reader.html`);
  await untilOpen(0);
  await stack.publish('orders', '', 'meanwhile');
  await start(page, 'reload');
  await untilTold(page, [['show', 'meanwhile']]);
  await stack.publish('orders', '', 'after');
  await untilTold(page, [['show', 'meanwhile'], ['show', 'after']]);
});

test('all tabs share one stream, and the next tab takes over without a gap', async (t) => {
  const tabs = await context(t);
  const first = await run(tabs, 'tabs');
  await untilOpen(1);
  const second = await run(tabs, 'tabs');
  await stack.publish('orders', '', 'for both');
  await untilTold(first, [['show', 'for both']]);
  await untilTold(second, [['show', 'for both']]);
  assert.equal(await stack.streams(), 1);
  await stack.redis.call('DEL', 'sluice:{orders}:s', 'sluice:{orders}:m');
  await stack.publish('orders', '', 'of another chain');
  const refetches = () => told.some(([name]) => name === 'refetch');
  for (const page of [first, second]) await page.waitForFunction(refetches, undefined, { timeout: WAIT_MS });
  await first.close();
  await stack.publish('orders', '', 'in between');
  const shown = () => told.filter(([, data]) => data === 'in between').length;
  await second.waitForFunction(shown, undefined, { timeout: WAIT_MS });
  assert.equal(await second.evaluate(shown), 1);
  assert.equal(await stack.streams(), 1);
});

test('a stream with an end is closed by the page', async (t) => {
  for (const text of ['Well', ', yes']) await stack.publish('answer.42', 'token', JSON.stringify({ text }));
  const page = await run(await context(t), 'finite', 'const id = 42;');
  await untilTold(page, [['append', 'Well'], ['append', ', yes']]);
  await stack.publish('answer.42', 'done', '{}');
  await page.waitForFunction(() => source.readyState === EventSource.CLOSED, undefined, { timeout: WAIT_MS });
  await untilOpen(0);
});

test('binary data arrives byte for byte', async (t) => {
  const prelude = 'const source = new EventSource("/v1/events?channel=frames");';
  const page = await run(await context(t), 'binary', prelude);
  await untilOpen(1);
  const bytes = Buffer.from([...Array(256).keys()]);
  await stack.publish('frames', 'frame', bytes.toString('base64'));
  await untilTold(page, [['draw', [...bytes]]]);
});

for (const name of ['session', 'ticket']) {
  test(`a page with a token reads, and goes on after a cut: ${name}`, async (t) => {
    const prelude = `const token = async () => '${token(['orders'])}';`;
    const page = await run(await context(t), name, prelude, 'tokens');
    await untilOpen(1);
    await stack.publish('orders', '', 'one');
    await untilTold(page, [['show', 'one']]);
    const cut = () => stack.gateways[2].metric('sluice_connections_closed_total', 'disconnected');
    const before = await cut();
    await stack.disconnect('orders');
    await until('the stream is cut', async () => (await cut()) > before);
    await stack.publish('orders', '', 'two');
    await untilTold(page, [['show', 'one'], ['show', 'two']]);
  });
}

test('no program of the page was left out', () => {
  assert.deepEqual([...PROGRAMS.keys()].sort(), [...ran].sort());
  assert.equal(PAGE.match(/```js/g).length, PROGRAMS.size);
});
