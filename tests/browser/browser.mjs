// The machine's own Chromium, headless, with an empty profile, and what a page under test saw.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

export const CONNECTING = 0;
export const OPEN = 1;
export const CLOSED = 2;

const WAIT_MS = 15_000;

/** Starts a browser; `without` takes away defaults of Playwright's, `args` adds to ours. */
export async function launch(options) {
  return chromium.launch(flags(options));
}

/** One with a profile of its own, in a folder, and the switch off that blocks cookies of other sites; gives its context. */
export async function launchWithCookies(folder, options = {}) {
  mkdirSync(join(folder, 'Default'), { recursive: true });
  writeFileSync(join(folder, 'Default/Preferences'), JSON.stringify({ profile: { cookie_controls_mode: 0 } }));
  return chromium.launchPersistentContext(folder, { ...flags(), ...options });
}

function flags({ without = [], args = [] } = {}) {
  const all = [
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ...args,
  ];
  if (process.getuid() === 0) all.push('--no-sandbox');
  return {
    executablePath: process.env.SLUICE_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: all,
    ignoreDefaultArgs: without,
  };
}

/** A tab on the page under test, served by `origin`. */
export class Reader {
  static async open(context, origin, query = '') {
    const reader = new Reader();
    reader.page = await context.newPage();
    reader.requests = [];
    reader.page.on('request', (request) => {
      if (request.resourceType() === 'eventsource') reader.requests.push(request);
    });
    await reader.page.goto(`${origin}/pages/reader.html${query}`);
    return reader;
  }

  /** `new EventSource(url)` in the page; gives the stream's number. */
  async read(url, init = {}) {
    return this.page.evaluate(([address, more]) => read(address, more), [url, init]);
  }

  /** Everything the stream told the page, in order. */
  async seen(stream = 0) {
    return this.page.evaluate((number) => streams[number].seen, stream);
  }

  /** Those of one type. */
  async seenOf(type, stream = 0) {
    return (await this.seen(stream)).filter((event) => event.type === type);
  }

  async readyState(stream = 0) {
    return this.page.evaluate((number) => streams[number].source.readyState, stream);
  }

  async readyStates() {
    return this.page.evaluate(() => streams.map(({ source }) => source.readyState));
  }

  async close(stream = 0) {
    await this.page.evaluate((number) => streams[number].source.close(), stream);
  }

  /** Waits until at least `count` events of a type were seen; gives the last of them. */
  async until(type, count = 1, stream = 0) {
    const enough = ([wanted, least, number]) => streams[number].seen.filter((event) => event.type === wanted).length >= least;
    await this.wait(enough, [type, count, stream], `${count} × ${type}`, stream);
    return (await this.seenOf(type, stream)).at(-1);
  }

  /** Waits until the event of this type with this data was seen. */
  async untilData(type, data, stream = 0) {
    const found = ([wanted, text, number]) => streams[number].seen.some((event) => event.type === wanted && event.data === text);
    await this.wait(found, [type, data, stream], `${type} ${data}`, stream);
  }

  async untilState(state, stream = 0) {
    await this.wait(([wanted, number]) => streams[number].source.readyState === wanted, [state, stream], `readyState ${state}`, stream);
  }

  async wait(condition, argument, what, stream) {
    try {
      await this.page.waitForFunction(condition, argument, { polling: 30, timeout: WAIT_MS });
    } catch (error) {
      const last = (await this.seen(stream).catch(() => [])).slice(-8).map((event) => JSON.stringify(event));
      throw new Error(`the page did not see ${what}; it saw last:\n${last.join('\n')}\n${error.message.split('\n')[0]}`);
    }
  }

  /** The `Last-Event-ID` headers that the browser itself sent, a request each (`null`: none). */
  async lastEventIds() {
    return Promise.all(this.requests.map(async (request) => (await request.allHeaders())['last-event-id'] ?? null));
  }
}

/** The data of the events of one type. */
export function texts(seen, type) {
  return seen.filter((event) => event.type === type).map((event) => event.data);
}

/** Every event once, in order: the same list. Told by the first difference, as the lists are long. */
export function assertSame(got, sent) {
  const at = sent.findIndex((text, index) => got[index] !== text);
  const place = at === -1 ? sent.length : at;
  assert.ok(
    at === -1 && got.length === sent.length,
    `sent ${sent.length}, got ${got.length}; from place ${place} on sent ${sent.slice(place, place + 3)}, got ${got.slice(place, place + 3)}`,
  );
}
