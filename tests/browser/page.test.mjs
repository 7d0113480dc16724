// The demo page, by what a person sees on it. (Its ids are a contract with gateway/src/http/page.)

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch } from './browser.mjs';
import { DemoPage, startDemo } from './demo.mjs';
import { until } from './processes.mjs';

let stack;
let browser;

before(async () => {
  [stack, browser] = await Promise.all([startDemo(), launch()]);
});
after(async () => {
  await browser?.close();
  await stack?.end();
});

test('the page shows its node and cursor, and every panel moves', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  await demo.untilAlive();
  assert.ok(stack.gatewayNamed((await demo.text('node')).trim()));
  const [price, cursor] = [await demo.text('price'), await demo.data('cursor', 'cursor')];
  assert.match(cursor, /^1~/);
  await demo.until((before) => document.getElementById('price').textContent !== before, price);
  await demo.until((before) => document.getElementById('cursor').dataset.cursor !== before, cursor);
  await demo.until(() => document.getElementById('jobs').children.length > 0);
  await demo.untilReceived(2);
  await demo.assertNothingLost();
});

test('"Cut the connection" cuts it, and the page comes back by itself with nothing lost', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  await demo.untilReceived(1);
  // The browser may be back before anybody looks: what the page went through is kept.
  await demo.page.evaluate(() => {
    window.states = [];
    const note = () => window.states.push(document.getElementById('state').dataset.state);
    new MutationObserver(note).observe(document.getElementById('state'), { attributeFilter: ['data-state'] });
  });
  await demo.page.locator('#kill').click();
  await demo.until(() => window.states.some((state) => state !== 'open') && window.states.at(-1) === 'open');
  assert.ok(!(await demo.page.evaluate(() => window.states)).includes('closed'));
  await demo.untilReceived(2);
  await demo.assertNothingLost();
});

test('the node killed by -9, the page goes on at another, with nothing lost', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  await demo.untilReceived(1);
  const name = (await demo.text('node')).trim();
  const gateway = stack.gatewayNamed(name);
  await gateway.child.end('SIGKILL');
  await demo.until((before) => document.getElementById('node').textContent.trim() !== before, name);
  await demo.untilState('open');
  await demo.untilReceived(2);
  await demo.assertNothingLost();
  await gateway.start();
});

test('"Go offline" lets the stream go, and back online the page has what was published meanwhile', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  await demo.untilReceived(1);
  await demo.page.locator('#offline').click();
  await demo.untilState('offline');
  await stack.untilStreams(0);
  const text = `published while offline ${Date.now()}`;
  await stack.publish('demo.notices', 'notice', JSON.stringify({ title: 'Missed', text, level: 'good' }));
  assert.ok(!(await demo.text('notices')).includes(text));
  await demo.page.locator('#offline').click();
  await demo.untilState('open');
  await demo.until((wanted) => document.getElementById('notices').textContent.includes(wanted), text);
  await demo.untilReceived(2);
  await demo.assertNothingLost();
});

test('a like on one page counts on every open page', async (t) => {
  const [one, other] = [await DemoPage.opened(t, browser, stack), await DemoPage.opened(t, browser, stack)];
  await one.until(() => /^\d+$/.test(document.getElementById('likes').dataset.count));
  const count = Number(await one.data('likes', 'count'));
  await one.page.locator('#like').click();
  for (const demo of [one, other]) await demo.until((least) => Number(document.getElementById('likes').dataset.count) > least, count);
});

test('an answer comes word by word, and one that is cut in the middle is whole in the end', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  await demo.page.locator('#ask').click();
  await demo.until(() => Number(document.getElementById('answer').dataset.tokens) >= 5);
  assert.equal(await demo.data('answer', 'state'), 'streaming');
  // Its stream may be on any node: each is killed once.
  for (const gateway of stack.gateways) {
    await gateway.child.end('SIGKILL');
    await gateway.start();
  }
  await demo.until(() => document.getElementById('answer').dataset.state === 'done');
  // The truth, apart from page and gateway: what Redis keeps of the answer.
  const [channel] = /demo\.answer\.\w+/.exec(await demo.text('answer-said'));
  const entries = await stack.redis.xrange(`sluice:{${channel}}:s`, '-', '+');
  const events = entries.map(([, fields]) => Object.fromEntries(fields.map((field, at) => [field, fields[at + 1]]).filter((_, at) => at % 2 === 0)));
  const words = events.filter(({ e }) => e === 'token').map(({ d }) => JSON.parse(d).text);
  assert.ok(words.length > 5);
  assert.equal(await demo.text('answer'), words.join(''));
  const streams = stack.nginx.requests().filter(({ path }) => path.includes(channel));
  assert.ok(streams.length >= 2, 'it was cut, and came back');
});

test('a job that is started runs to its end', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  const asked = demo.page.waitForResponse((response) => response.url().endsWith('/v1/channels/demo.ask/events'));
  await demo.page.locator('#job').click();
  // The backend names a job after the event that asked for it; others it starts by itself.
  const [event] = (await (await asked).json()).id.split('.');
  await until('this job is finished', () => demo.page.locator(`#jobs [data-job="job-${event}"][data-state=finished]`).count(), 40_000);
});

test('what the form publishes appears on the page, byte for byte', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  const text = `Grüße <b>& "quotes"</b> ${Date.now()}`;
  await demo.page.locator('#publish-data').fill(JSON.stringify({ title: 'From the form', text, level: 'info' }));
  await demo.page.locator('#publish').click();
  await demo.until((wanted) => document.getElementById('notices').textContent.includes(wanted), text);
});

test('the raw stream shows what EventSource hides', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  await demo.page.locator('#raw').click();
  await demo.until(() => /^id: /m.test(document.getElementById('raw-text').textContent));
  const raw = await demo.text('raw-text');
  for (const line of [/^:$/m, /^retry: \d+$/m, /^event: sluice\.open$/m, /^data: \{/m]) assert.match(raw, line);
});

test('a phone shows the page without scrolling sideways, in light and dark', async (t) => {
  for (const colorScheme of ['light', 'dark']) {
    const demo = await DemoPage.opened(t, browser, stack, { viewport: { width: 390, height: 844 }, colorScheme });
    await demo.untilAlive();
    await demo.page.locator('#raw').click();
    assert.ok(await demo.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${colorScheme}: it scrolls sideways`);
    await demo.close();
  }
});

test('left by back navigation or closed, the page leaves no stream behind', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  await demo.page.goto('about:blank');
  await stack.untilStreams(0);
  await demo.page.goBack();
  await demo.untilState('open');
  await demo.page.close();
  await stack.untilStreams(0);
});
