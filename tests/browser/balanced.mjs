// One tab with several EventSources at a load balancer that something else runs (tests/lb): says what the tab sees, a line of
// JSON each time it has changed, until its input ends.
//   node balanced.mjs ORIGIN COUNT      the streams read the channels tab.0, tab.1, …

import { launch } from './browser.mjs';

const LOOK_MS = 50;
const PAGE = new URL('./pages/reader.html', import.meta.url).pathname;

const [origin, count] = process.argv.slice(2);
const browser = await launch();
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const page = await context.newPage();
// The page is of the load balancer's origin, though no node has it; all else goes to the load balancer.
await page.route(`${origin}/reader.html`, (route) => route.fulfill({ path: PAGE, contentType: 'text/html' }));
await page.goto(`${origin}/reader.html`);
await page.unroute(`${origin}/reader.html`);

// Which protocol the browser speaks there.
const protocol = await page.evaluate(async () => {
  await (await fetch('/v1/poll')).text();
  const found = () => performance.getEntriesByType('resource').find(({ name }) => name.endsWith('/v1/poll'));
  while (found() === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
  return found().nextHopProtocol;
});
await page.evaluate((streams) => {
  for (let number = 0; number < streams; number += 1) read(`/v1/events?channel=tab.${number}`);
}, Number(count));

let ended = false;
process.stdin.resume();
process.stdin.once('end', () => {
  ended = true;
});

let last = '';
while (!ended) {
  const seen = await page.evaluate(() => streams.map(({ source, seen: events }) => ({
    state: source.readyState,
    events: events.filter(({ type }) => type !== 'open' && type !== 'error').map(({ type, data }) => [type, data]),
  })));
  const line = JSON.stringify({ protocol, streams: seen });
  if (line !== last) process.stdout.write(`${line}\n`);
  last = line;
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}
await browser.close();
