// Cookies and tickets in a real browser: what it sends by itself, what of that the gateway takes, and what it refuses.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { CLOSED, OPEN, Reader, launch, launchWithCookies, texts } from './browser.mjs';
import { Stack } from './stack.mjs';
import { JWT, token } from './token.mjs';

/** The same place by its other name: another site. */
const elsewhere = (origin) => origin.replace('127.0.0.1', 'localhost');

let stack;
let browser;

before(async () => {
  const gateways = ({ app, secureApp }) => [
    { ...JWT, SLUICE__HTTP__CORS_ORIGINS: app },
    { ...JWT, SLUICE__HTTP__CORS_ORIGINS: elsewhere(secureApp), SLUICE__SESSION__SAME_SITE: 'none' },
  ];
  // `own` serves page and stream from one origin; `app` is another origin of its site; `secure` takes cookies from other sites.
  const fronts = {
    own: { nodes: [0] },
    app: { nodes: [0] },
    secure: { nodes: [1], tls: true },
    secureApp: { nodes: [1], tls: true },
  };
  [stack, browser] = await Promise.all([Stack.start({ gateways, fronts }), launch()]);
});
after(async () => {
  await browser?.close();
  await stack?.end();
});

async function tab(t, origin) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  t.after(() => context.close());
  return Reader.open(context, origin);
}

/** `fetch` in the page; gives status, problem code and body. */
async function ask(reader, url, init = {}) {
  return reader.page.evaluate(async ([address, more]) => {
    const answer = await fetch(address, more);
    const body = await answer.text();
    const json = body.startsWith('{') ? JSON.parse(body) : {};
    return { status: answer.status, code: json.code ?? null, json };
  }, [url, init]);
}

async function login(reader, origin, bearer, init = {}) {
  const answer = await ask(reader, `${origin}/v1/session`, { method: 'POST', headers: { authorization: `Bearer ${bearer}` }, ...init });
  assert.equal(answer.status, 200, JSON.stringify(answer));
  assert.deepEqual(Object.keys(answer.json), ['expires_at']);
}

/** What nginx saw of the requests for one path, once they have ended. */
async function logged(path, count = 1) {
  return stack.nginx.untilLogged(path, (request) => request.path === path, count);
}

test('a page logs in, and its native EventSource reads, resumes and is refused after logging out', async (t) => {
  const reader = await tab(t, stack.origins.own);
  const path = '/v1/events?channel=own';
  await reader.read(path);
  await reader.untilState(CLOSED);
  await login(reader, '', token(['own']));
  // Secure, on http: localhost counts. Not to be seen by scripts.
  const [cookie] = await reader.page.context().cookies();
  assert.deepEqual(
    [cookie.name, cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path, cookie.domain],
    ['__Host-sluice', true, true, 'Strict', '/', '127.0.0.1'],
  );
  assert.equal(await reader.page.evaluate(() => document.cookie), '');

  const stream = await reader.read(path);
  await reader.until('sluice.open', 1, stream);
  const id = await stack.publish('own', '', 'first');
  await reader.untilData('message', 'first', stream);
  await stack.disconnect('own');
  await reader.until('sluice.close', 1, stream);
  await stack.publish('own', '', 'second');
  await reader.untilData('message', 'second', stream);
  assert.deepEqual(texts(await reader.seen(stream), 'message'), ['first', 'second']);
  assert.equal(await reader.readyState(stream), OPEN);
  await reader.close(stream);

  assert.equal((await ask(reader, '/v1/channels/inbox/events', { method: 'POST', body: 'x' })).status, 201);
  assert.equal((await ask(reader, '/v1/session', { method: 'DELETE' })).status, 204);
  assert.deepEqual(await reader.page.context().cookies(), []);
  const requests = await logged(path, 3);
  const told = requests.map(({ status, origin, site, lastEventId }) => [status, origin, site, lastEventId]);
  assert.deepEqual(told, [['401', '', 'same-origin', ''], ['200', '', 'same-origin', ''], ['200', '', 'same-origin', id]]);
  assert.deepEqual(requests.map(({ cookie: sent }) => sent.startsWith('__Host-sluice=')), [false, true, true]);
  const [publish] = await logged('/v1/channels/inbox/events');
  assert.deepEqual([publish.method, publish.origin, publish.site], ['POST', stack.origins.own, 'same-origin']);
});

test('a listed origin of the same site logs in and reads with its cookie; an image of it does not', async (t) => {
  const reader = await tab(t, stack.origins.app);
  const { own } = stack.origins;
  await login(reader, own, token(['site']), { credentials: 'include' });
  const path = '/v1/events?channel=site';
  const stream = await reader.read(own + path, { withCredentials: true });
  await reader.until('sluice.open', 1, stream);
  await stack.publish('site', '', 'across');
  await reader.untilData('message', 'across', stream);
  await reader.close(stream);
  const [request] = await logged(path);
  assert.deepEqual([request.status, request.origin, request.site], ['200', stack.origins.app, 'same-site']);

  // Cookie and all, but no origin: the gateway sees that another page makes the browser ask.
  const history = '/v1/channels/site/events?by=image';
  await show(reader, own + history);
  const [image] = await logged(history);
  assert.deepEqual([image.status, image.origin, image.site], ['403', '', 'same-site']);
  assert.match(image.cookie, /^__Host-sluice=/);
  assert.equal(await stack.gateways[0].metric('sluice_auth_failures_total', 'origin_required'), 1);
});

/** An image of this address in the page, which fails. */
async function show(reader, address) {
  await reader.page.evaluate((url) => new Promise((resolve) => {
    const image = new Image();
    image.onerror = resolve;
    image.src = url;
  }), address);
}

test('other sites get nowhere with a visitor’s cookie, SameSite=None and all', async (t) => {
  const { secure } = stack.origins;
  const context = await launchWithCookies(join(stack.folder, 'profile'), { ignoreHTTPSErrors: true });
  t.after(() => context.close());
  const reader = await Reader.open(context, secure);
  await login(reader, '', token(['open']));
  const [cookie] = await reader.page.context().cookies();
  assert.deepEqual([cookie.sameSite, cookie.secure], ['None', true]);

  // 127.0.0.1 and localhost are two sites. First a page that is not listed, then the one that is.
  const localhost = elsewhere(secure);
  const stranger = await Reader.open(reader.page.context(), localhost);
  const refused = await stranger.read(`${secure}/v1/events?channel=open&by=stranger`, { withCredentials: true });
  await stranger.untilState(CLOSED, refused);
  await show(stranger, `${secure}/v1/channels/open/events?by=image`);
  await stranger.page.evaluate((url) => {
    document.body.innerHTML = `<form method="post" action="${url}" enctype="text/plain"><input name="x" value="y"></form>`;
  }, `${secure}/v1/channels/inbox/events?by=form`);
  await Promise.all([stranger.page.waitForNavigation(), stranger.page.evaluate(() => document.querySelector('form').submit())]);
  const from = stranger.page;
  await from.goto(`${localhost}/pages/other.html`);
  await from.evaluate((url) => { document.body.innerHTML = `<a href="${url}">read</a>`; }, `${secure}/v1/channels/open/events?by=link`);
  await Promise.all([from.waitForNavigation(), from.click('a')]);

  const seen = async (path) => {
    const [{ status, method, origin, site, cookie: sent }] = await logged(path);
    return [status, method, origin, site, sent.startsWith('__Host-sluice=')];
  };
  assert.deepEqual(await seen('/v1/events?channel=open&by=stranger'), ['403', 'GET', localhost, 'cross-site', true]);
  assert.deepEqual(await seen('/v1/channels/open/events?by=image'), ['403', 'GET', '', 'cross-site', true]);
  assert.deepEqual(await seen('/v1/channels/inbox/events?by=form'), ['403', 'POST', localhost, 'cross-site', true]);
  assert.deepEqual(await seen('/v1/channels/open/events?by=link'), ['403', 'GET', '', 'cross-site', true]);
  assert.equal(await stack.gateways[1].metric('sluice_published_total', 'accepted'), 0);

  const app = await Reader.open(reader.page.context(), elsewhere(stack.origins.secureApp));
  const allowed = await app.read(`${secure}/v1/events?channel=open&by=app`, { withCredentials: true });
  await app.until('sluice.open', 1, allowed);
  await stack.publish('open', '', 'to a listed site');
  await app.untilData('message', 'to a listed site', allowed);
  await app.close(allowed);
  assert.deepEqual(
    await seen('/v1/events?channel=open&by=app'),
    ['200', 'GET', elsewhere(stack.origins.secureApp), 'cross-site', true],
  );
});

test('a used ticket ends an EventSource; a new ticket goes on and nothing is lost', async (t) => {
  const reader = await tab(t, stack.origins.app);
  const { own } = stack.origins;
  const ticket = async () => {
    const headers = { authorization: `Bearer ${token(['seats'])}`, 'content-type': 'application/json' };
    const answer = await ask(reader, `${own}/v1/tickets`, { method: 'POST', headers, body: '{"channels":["seats"]}' });
    assert.equal(answer.status, 201, JSON.stringify(answer));
    return answer.json.ticket;
  };
  // No cookie, no header: the URL of another origin is all. The ticket says which channels.
  const used = `${own}/v1/events?ticket=${await ticket()}`;
  const first = await reader.read(used);
  await reader.until('sluice.open', 1, first);
  await stack.publish('seats', '', 'one');
  await reader.untilData('message', 'one', first);
  // The stream ends; the browser comes back by itself, with the ticket that is used.
  await stack.disconnect('seats');
  const { id } = await reader.until('sluice.close', 1, first);
  await stack.publish('seats', '', 'two');
  await reader.untilState(CLOSED, first);
  const next = await reader.read(`${own}/v1/events?ticket=${await ticket()}&last_event_id=${id}`);
  await reader.untilData('message', 'two', next);
  assert.deepEqual(texts(await reader.seen(next), 'message'), ['two']);
  await reader.close(next);
  const requests = await stack.nginx.untilLogged('both', ({ path }) => used.endsWith(path), 2);
  assert.deepEqual(requests.map(({ status }) => status), ['200', '401']);
  assert.equal(await stack.gateways[0].metric('sluice_auth_failures_total', 'bad_ticket'), 1);
});
