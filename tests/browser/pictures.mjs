// Takes the pictures of the demo page for the README: `node tests/browser/pictures.mjs [FOLDER]`, by default docs/pictures.

import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { launch } from './browser.mjs';
import { DemoPage, startDemo } from './demo.mjs';

const FOLDER = process.argv[2] ?? new URL('../../docs/pictures/', import.meta.url).pathname;
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const MOST_BYTES = 250_000;
// So many points make the price a line worth looking at.
const POINTS = 12;

const PICTURES = [
  { name: 'demo-light', viewport: DESKTOP, colorScheme: 'light' },
  { name: 'demo-dark', viewport: DESKTOP, colorScheme: 'dark' },
  { name: 'demo-phone-light', viewport: PHONE, colorScheme: 'light' },
  { name: 'demo-phone-dark', viewport: PHONE, colorScheme: 'dark' },
  { name: 'demo-answer', viewport: DESKTOP, colorScheme: 'light', prepare: askAndCut },
  { name: 'demo-reconnecting', viewport: DESKTOP, colorScheme: 'dark', prepare: loseAllNodes },
  { name: 'demo-raw', viewport: DESKTOP, colorScheme: 'light', prepare: openTap },
];

/** In the middle of an answer. */
async function askAndCut({ demo }) {
  await demo.page.locator('#ask').click();
  await demo.until(() => Number(document.getElementById('answer').dataset.tokens) >= 12);
  await toTop(demo);
}

/** No node is left, and the browser tries again. */
async function loseAllNodes({ demo, stack }) {
  await Promise.all(stack.gateways.map((gateway) => gateway.child.end()));
  await demo.untilState('reconnecting');
  await demo.until(() => Number(document.getElementById('waiting').dataset.waiting) >= 0);
}

async function openTap({ demo }) {
  await demo.page.locator('#raw').click();
  await demo.until(() => document.getElementById('raw-text').textContent.length > 1500);
  await demo.page.locator('#raw').evaluate((button) => button.closest('section').parentElement.scrollIntoView());
}

async function toTop(demo) {
  await demo.page.evaluate(() => {
    document.activeElement?.blur();
    scrollTo(0, 0);
  });
}

async function take(browser, stack, { name, prepare, ...options }) {
  const demo = await DemoPage.open(browser, stack, { ...options, reducedMotion: 'reduce' });
  await demo.untilAlive();
  await demo.until((least) => Number(document.getElementById('price').dataset.points) >= least, POINTS);
  await prepare?.({ demo, stack });
  const path = join(FOLDER, `${name}.png`);
  await demo.page.screenshot({ path, animations: 'disabled' });
  await demo.close();
  const { size } = statSync(path);
  console.log(`${path} ${options.viewport.width}x${options.viewport.height} ${size} bytes`);
  if (size > MOST_BYTES) throw new Error(`${path} is larger than ${MOST_BYTES} bytes`);
}

mkdirSync(FOLDER, { recursive: true });
const [stack, browser] = await Promise.all([startDemo(), launch()]);
try {
  for (const picture of PICTURES) {
    await take(browser, stack, picture);
    await Promise.all(stack.gateways.filter(({ child }) => !child.isAlive()).map((gateway) => gateway.start()));
  }
} finally {
  await browser.close();
  await stack.end();
}
