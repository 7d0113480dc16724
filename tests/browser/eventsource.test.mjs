// The programs of docs/eventsource.md and docs/auth.md do what these pages say, as they are printed there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { launch } from './browser.mjs';
import { until } from './processes.mjs';
import { Stack } from './stack.mjs';
import { JWT, token } from './token.mjs';

/** The programs of a page of docs/, by name. */
function programs(page) {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  return [...text.matchAll(/<!-- run: (\w+) -->\n```js\n(.*?)```/gs)].map(([, name, code]) => [name, code]);
}

const PROGRAMS = new Map(programs('eventsource.md'));
const RECIPES = new Map(programs('auth.md'));
// What the programs call, to be looked at.
const CALLED = `
  const told = [];
  const [show, refetch, explain, append] = ['show', 'refetch', 'explain', 'append'].map((name) => (value) => told.push([name, value]));
  const draw = (bytes) => told.push(['draw', [...bytes]]);
`;
const WAIT_MS = 15_000;
// Tokens end when they say so, and a stream tells 2 s ahead.
const EXPIRING = { ...JWT, SLUICE__AUTH__JWT__LEEWAY: '0s', SLUICE__STREAM__EXPIRING_LEAD: '2s' };

let stack;
let browser;
const ran = new Set();

before(async () => {
  const fronts = { main: { nodes: [0, 1] }, tokens: { nodes: [2] }, expiring: { nodes: [3] } };
  [stack, browser] = await Promise.all([Stack.start({ gateways: [{}, {}, JWT, EXPIRING], fronts }), launch()]);
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

/** A page that runs a recipe of docs/auth.md, its waits a tenth as long; `tokens` are what its service answers, one after the other. */
async function follow(pages, name, tokens) {
  ran.add(`auth: ${name}`);
  const page = await pages.newPage();
  const gone = [];
  page.on('request', (request) => request.resourceType() === 'eventsource' && gone.push(request.url()));
  page.on('pageerror', (error) => gone.push(`error: ${error.message}`));
  const given = [];
  await page.exposeFunction('getToken', () => {
    if (tokens.length === 0) throw new Error('nobody is signed in');
    given.push(tokens.shift()());
    return given.at(-1);
  });
  await page.goto(`${stack.origins.expiring}/pages/other.html`);
  const prelude = `${CALLED} const setTimeout = (task, wait) => window.setTimeout(task, wait / 10);`;
  await page.addScriptTag({ content: prelude + RECIPES.get(name) });
  return { page, given, gone };
}

const reads = (seconds) => () => token(['orders.*'], seconds);
const closed = (reason) => stack.gateways[3].metric('sluice_connections_closed_total', reason);

/** What a page has shown. */
async function untilShown(page, texts) {
  const shown = () => told.filter(([name]) => name === 'show').map(([, data]) => data);
  await page.waitForFunction((count) => told.filter(([name]) => name === 'show').length >= count, texts.length, {
    polling: 30, timeout: WAIT_MS,
  }).catch(() => {});
  assert.deepEqual(await page.evaluate(shown), texts);
}

/** The streams that a page has asked for: the statuses, and whether the last one said where to go on. */
async function assertRefusedOnce(gone) {
  assert.equal(gone.length, 3, gone.join('\n'));
  const [first, again, anew] = gone.map((url) => new URL(url));
  assert.equal(again.href, first.href, 'the browser comes back with what it has');
  assert.deepEqual([first, anew].map((url) => url.searchParams.has('last_event_id')), [false, true]);
  const requests = await stack.nginx.untilLogged('both', ({ path }) => first.href.endsWith(path), 2);
  assert.deepEqual(requests.map(({ status }) => status), ['200', '401']);
}

test('docs/auth.md, cookie: the cookie ends with its token, and the page begins anew with nothing lost', async (t) => {
  const before = await closed('token_expired');
  const tokens = [reads(2.5)];
  const { page, gone } = await follow(await context(t), 'cookie', tokens);
  await untilOpen(1);
  await until('the stream ends with its token', async () => (await closed('token_expired')) > before);
  await stack.publish('orders.eu', '', 'asleep');
  // The page tries for as long as its service knows nobody.
  await page.waitForFunction(() => told.filter(([name]) => name === 'explain').length >= 3, undefined, { timeout: WAIT_MS });
  tokens.push(reads(60));
  await untilShown(page, ['asleep']);
  await stack.publish('orders.eu', '', 'awake');
  await untilShown(page, ['asleep', 'awake']);
  await assertRefusedOnce(gone);
});

test('docs/auth.md, ticket: the used ticket is refused, and a new one goes on with nothing lost', async (t) => {
  const before = await closed('disconnected');
  const { page, gone } = await follow(await context(t), 'ticket', [reads(60), reads(60)]);
  await page.waitForFunction(() => connection !== '', undefined, { timeout: WAIT_MS });
  await stack.disconnect('orders.eu');
  await until('the stream is cut', async () => (await closed('disconnected')) > before);
  await stack.publish('orders.eu', '', 'cut');
  await untilShown(page, ['cut']);
  await assertRefusedOnce(gone);
  assert.deepEqual(await page.evaluate(() => told.filter(([name]) => name === 'explain')), []);
});

test('docs/auth.md, cookie and ticket: a token handed in anew keeps the stream open beyond the first one', async (t) => {
  const before = await closed('token_expired');
  const pages = await context(t);
  const names = ['cookie', 'ticket'];
  const readers = await Promise.all(names.map((name) => follow(pages, name, [reads(3), reads(60)])));
  await untilOpen(2);
  await stack.publish('orders.eu', '', 'first token');
  for (const { page } of readers) await untilShown(page, ['first token']);
  for (const { given } of readers) {
    await until('the page has a second token', () => given.length === 2);
    await until('the first token has expired', () => refused(given[0]));
  }
  await stack.publish('orders.eu', '', 'second token');
  for (const { page, gone } of readers) {
    await untilShown(page, ['first token', 'second token']);
    assert.equal(gone.length, 1, gone.join('\n'));
    assert.deepEqual(await page.evaluate(() => told.filter(([name]) => name === 'explain')), []);
  }
  assert.equal(await closed('token_expired'), before);
});

/** Whether the gateway says of a token that it has expired. */
async function refused(bearer) {
  const address = `${stack.origins.expiring}/v1/channels/orders.eu/events`;
  const answer = await fetch(address, { headers: { authorization: `Bearer ${bearer}` } });
  return answer.status === 401 && (await answer.json()).code === 'token_expired';
}

test('no program of the pages was left out', () => {
  const all = [...PROGRAMS.keys(), ...[...RECIPES.keys()].map((name) => `auth: ${name}`)];
  assert.deepEqual(all.sort(), [...ran].sort());
  const page = readFileSync(new URL('../../docs/eventsource.md', import.meta.url), 'utf8');
  assert.equal(page.match(/```js/g).length, PROGRAMS.size);
});
