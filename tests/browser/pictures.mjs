// Takes the pictures of the README: `node tests/browser/pictures.mjs [FOLDER]`, by default docs/pictures.

import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { launch } from './browser.mjs';
import { DemoPage, startDemo } from './demo.mjs';
import { takeQuickstart } from './quickstart.mjs';

const FOLDER = process.argv[2] ?? new URL('../../docs/pictures/', import.meta.url).pathname;
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const MOST_BYTES = 250_000;
// What makes a page worth looking at: half of the price's window, and numbers other than 0.
const POINTS = 30;
const AS_SHIPPED = { SLUICE__STREAM__RETRY: '3s' };
const LIKES = 7;
const RECEIVED = 5;

const PICTURES = [
  { name: 'demo-light', viewport: DESKTOP, colorScheme: 'light', prepare: cut },
  { name: 'demo-dark', viewport: DESKTOP, colorScheme: 'dark', prepare: cut },
  { name: 'demo-offline', viewport: DESKTOP, colorScheme: 'light', prepare: goOffline },
  { name: 'demo-answer', viewport: DESKTOP, colorScheme: 'light', prepare: ask },
  { name: 'demo-raw', viewport: DESKTOP, colorScheme: 'light', prepare: openTap },
  { name: 'demo-phone-light', viewport: PHONE, colorScheme: 'light' },
  { name: 'demo-phone-dark', viewport: PHONE, colorScheme: 'dark' },
];

/** Cut, and back: the page tells what it got on its return. */
async function cut(demo) {
  const before = await demo.text('resume');
  await demo.page.locator('#kill').click();
  await demo.until((old) => document.getElementById('resume').textContent !== old, before);
  await demo.until(() => /^[1-9]/.test(document.getElementById('resume').textContent));
}

/** Offline for a while: what is published waits at the gate. */
async function goOffline(demo) {
  await demo.page.locator('#offline').click();
  await demo.until(() => Number(document.getElementById('waiting').dataset.waiting) >= 4);
}

/** In the middle of an answer. */
async function ask(demo) {
  await demo.page.locator('#ask').click();
  await demo.until(() => Number(document.getElementById('answer').dataset.tokens) >= 20);
  await demo.page.locator('#answer').evaluate((answer) => {
    document.activeElement.blur();
    answer.closest('section').scrollIntoView({ block: 'center' });
  });
}

async function openTap(demo) {
  await demo.page.locator('#raw').click();
  await demo.until(() => document.getElementById('raw-text').textContent.length > 1500);
  await demo.page.locator('#raw').evaluate((button) => {
    document.activeElement.blur();
    button.closest('section').scrollIntoView();
  });
}

async function take(browser, stack, { name, prepare, ...options }) {
  const demo = await DemoPage.open(browser, stack, { ...options, reducedMotion: 'reduce' });
  await demo.untilAlive();
  await demo.until((least) => Number(document.getElementById('price').dataset.points) >= least, POINTS);
  await demo.untilReceived(RECEIVED);
  await prepare?.(demo);
  await demo.page.mouse.move(0, 0);
  const path = join(FOLDER, `${name}.png`);
  await demo.page.screenshot({ path, animations: 'disabled' });
  await demo.close();
  look(path);
}

function look(path) {
  const { size } = statSync(path);
  console.log(`${path} ${size} bytes`);
  if (size > MOST_BYTES) throw new Error(`${path} is larger than ${MOST_BYTES} bytes`);
}

mkdirSync(FOLDER, { recursive: true });
const [stack, browser] = await Promise.all([startDemo(AS_SHIPPED), launch()]);
try {
  for (let likes = 0; likes < LIKES; likes += 1) await stack.publish('demo.ask', 'like', '{}');
  for (const picture of PICTURES) {
    await take(browser, stack, picture);
  }
  const quickstart = join(FOLDER, 'quickstart.png');
  await takeQuickstart(browser, `127.0.0.1:${stack.gateways[0].port}`, quickstart);
  look(quickstart);
} finally {
  await browser.close();
  await stack.end();
}
