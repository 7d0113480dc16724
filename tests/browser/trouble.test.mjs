// The demo page in trouble, by what a person sees on it.

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

test('a reset is shown, with its reason, until it is dismissed', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  await demo.untilAlive();
  await stack.redis.call('DEL', 'sluice:{demo.prices}:s', 'sluice:{demo.prices}:m');
  await demo.until(() => !document.getElementById('reset').hidden);
  assert.equal(await demo.data('reset', 'reason'), 'state_lost');
  assert.match(await demo.text('reset-text'), /demo\.prices/);
  await demo.page.locator('#reset-dismiss').click();
  assert.ok(await demo.page.locator('#reset').isHidden());
});

test('the connection is cut by keyboard alone, and the focus stays where it was', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  await demo.untilReceived(1);
  const focused = () => demo.page.evaluate(() => document.activeElement.id);
  for (let presses = 0; presses < 15 && (await focused()) !== 'kill'; presses += 1) await demo.page.keyboard.press('Tab');
  assert.equal(await focused(), 'kill');
  const before = await demo.text('resume');
  await demo.page.keyboard.press('Enter');
  await demo.until((old) => document.getElementById('resume').textContent !== old, before);
  await demo.untilState('open');
  assert.equal(await focused(), 'kill');
  await demo.assertNothingLost();
});

test('while no node is left the page says so, and counts what came once one is back', async (t) => {
  const demo = await DemoPage.opened(t, browser, stack);
  await demo.untilAlive();
  await demo.untilReceived(2);
  // What it publishes meanwhile is refused by nginx.
  const own = await demo.page.locator('#raw-channel option').evaluateAll((all) => all.map(({ value }) => value));
  demo.troubled.push(...own.map((channel) => `/v1/channels/${channel}/events`));
  const before = await demo.text('resume');
  await Promise.all(stack.gateways.map((gateway) => gateway.child.end()));
  await demo.until(() => document.body.innerText.includes('no node of the gateway can be reached'));
  for (const number of [1, 2, 3]) await stack.publish('demo.notices', 'notice', JSON.stringify({ title: `Away ${number}`, text: '', level: 'info' }));
  assert.equal(await demo.text('resume'), before, 'nothing is told of a return that was none');
  await Promise.all(stack.gateways.map((gateway) => gateway.start()));
  await demo.until((old) => document.getElementById('resume').textContent !== old, before);
  assert.ok(Number(await demo.data('resume', 'replayed')) >= 3, await demo.text('resume'));
  await demo.until(() => document.getElementById('notices').textContent.includes('Away 3'));
  await demo.untilReceived(2);
  await demo.assertNothingLost();
});

test('three tabs with open taps leave no connection to publish with, and the page says why', async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  for (let tab = 0; tab < 3; tab += 1) {
    const page = await context.newPage();
    await page.goto(`${stack.origins.main}/`);
    await page.locator('#raw').click();
  }
  const told = async () => {
    const said = await Promise.all(context.pages().map((page) => page.locator('#proof-said').textContent()));
    return said.some((text) => text.includes('six connections per host'));
  };
  await until('a page says that connections are short', told, 20_000);
  await context.pages()[0].close();
});
