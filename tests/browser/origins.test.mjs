// Pages of other origins, cookies and tokens.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { CLOSED, OPEN, Reader, launch, texts } from './browser.mjs';
import { Stack } from './stack.mjs';

const SECRET = 'a secret of these tests that is long enough';
const COOKIE = { name: 'visitor', value: 'v-42', httpOnly: true };

let stack;
let browser;

before(async () => {
  const gateways = ({ app }) => [
    { SLUICE__HTTP__CORS_ORIGINS: app },
    { SLUICE__AUTH__MODE: 'jwt', SLUICE__AUTH__JWT__SECRET: SECRET },
    { SLUICE__HTTP__CORS_ORIGINS: app },
  ];
  // `app` serves an allowed page, `stranger` one that is not; the streams are behind `stream`, a third origin.
  const fronts = {
    stream: { nodes: [0, 2] },
    product: { product: true, nodes: [0, 2, 0], corsFor: 'app' },
    app: { nodes: [0] },
    stranger: { nodes: [0] },
    tokens: { nodes: [1] },
  };
  [stack, browser] = await Promise.all([Stack.start({ gateways, fronts }), launch()]);
});
after(async () => {
  await browser?.close();
  await stack?.end();
});

async function tab(t, front) {
  const context = await browser.newContext();
  t.after(() => context.close());
  await context.addCookies([{ ...COOKIE, url: stack.origins.stream }]);
  return Reader.open(context, stack.origins[front]);
}

/** The requests for streams of a channel, once the stream has ended. */
async function logged(channel, count = 1) {
  return stack.nginx.untilLogged(`${channel} ended`, (request) => request.path.endsWith(`channel=${channel}`), count);
}

test('a page of an allowed origin reads, resumes across origins, and is sent its cookie with withCredentials only', async (t) => {
  const reader = await tab(t, 'app');
  const url = `${stack.origins.stream}/v1/events?channel`;
  const [plain, withCookie] = [await reader.read(`${url}=plain`), await reader.read(`${url}=cookie`, { withCredentials: true })];
  for (const number of [plain, withCookie]) await reader.until('sluice.open', 1, number);
  const id = await stack.publish('cookie', '', 'first');
  await reader.untilData('message', 'first', withCookie);

  // Cut by kill -9: the browser comes back by itself, with cookie and Last-Event-ID.
  const { node } = JSON.parse((await reader.seenOf('sluice.open', withCookie))[0].data);
  const gateway = stack.gatewayNamed(node);
  await gateway.child.end();
  await stack.publish('cookie', '', 'second');
  await reader.untilData('message', 'second', withCookie);
  assert.deepEqual(texts(await reader.seen(withCookie), 'message'), ['first', 'second']);
  assert.equal(await reader.readyState(withCookie), OPEN);
  await gateway.start();

  await reader.page.close();
  const origin = stack.origins.app;
  assert.deepEqual((await logged('cookie', 2)).map((request) => [request.origin, request.cookie, request.lastEventId]), [
    [origin, 'visitor=v-42', ''],
    [origin, 'visitor=v-42', id],
  ]);
  for (const request of await logged('plain')) assert.deepEqual([request.origin, request.cookie], [origin, '']);
});

test('behind deploy/lb/nginx a page of an allowed origin, cookie and all, outlives that no node is left', async (t) => {
  const reader = await tab(t, 'app');
  await reader.read(`${stack.origins.product}/v1/events?channel=away`, { withCredentials: true });
  await reader.until('sluice.open');
  await stack.publish('away', '', 'before');
  await reader.untilData('message', 'before');
  const gateways = [stack.gateways[0], stack.gateways[2]];
  await Promise.all(gateways.map((gateway) => gateway.child.end()));
  assert.equal((await reader.until('sluice.close')).data, '{"reason":"unavailable"}');
  await stack.publish('away', '', 'meanwhile');
  await Promise.all(gateways.map((gateway) => gateway.start()));
  await reader.untilData('message', 'meanwhile');
  const seen = await reader.seen();
  assert.deepEqual(texts(seen, 'message'), ['before', 'meanwhile']);
  assert.ok(seen.every((event) => event.state !== CLOSED));
});

test('a page of another origin is refused: its EventSource is CLOSED and the gateway has no stream', async (t) => {
  const reader = await tab(t, 'stranger');
  for (const [channel, withCredentials] of [['stranger1', true], ['stranger2', false]]) {
    const number = await reader.read(`${stack.origins.stream}/v1/events?channel=${channel}`, { withCredentials });
    await reader.untilState(CLOSED, number);
    assert.deepEqual((await reader.seen(number)).map(({ type, state }) => [type, state]), [['error', CLOSED]]);
    const [request] = await logged(channel);
    assert.deepEqual([request.status, request.origin], ['403', stack.origins.stranger]);
  }
  assert.equal(await stack.streams(), 0);
  // Its own origin, the same node: it was the origin.
  const own = await reader.read('/v1/events?channel=own', { withCredentials: true });
  await reader.until('sluice.open', 1, own);
});

test('without a token the answer is 401 and a native EventSource does not try again; fetch reads the reason', async (t) => {
  const reader = await tab(t, 'tokens');
  await reader.read('/v1/events?channel=secret');
  await reader.untilState(CLOSED);
  assert.deepEqual((await reader.seen()).map(({ type, state }) => [type, state]), [['error', CLOSED]]);
  const problem = await reader.page.evaluate(async () => {
    const answer = await fetch('/v1/events?channel=other');
    return [answer.status, answer.headers.get('www-authenticate'), (await answer.json()).code];
  });
  assert.deepEqual(problem, [401, 'Bearer realm="sluice"', 'token_missing']);
  assert.deepEqual((await logged('secret')).map(({ status }) => status), ['401']);
  assert.equal(await stack.gateways[1].metric('sluice_auth_failures_total', 'token_missing'), 2);
});
