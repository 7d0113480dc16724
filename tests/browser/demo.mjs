// The demo page as a person uses it: three --dev gateways, the nginx that users get, and the backend of the page.

import assert from 'node:assert/strict';

import { Stack } from './stack.mjs';

const WAIT_MS = 15_000;

export async function startDemo(settings = {}) {
  const stack = await Stack.start({ gateways: [settings, settings, settings], args: ['--dev'], fronts: { main: { product: true } } });
  stack.startDemo();
  return stack;
}

/** A tab on the demo page. What the page must never do is kept in `faults`. */
export class DemoPage {
  static async open(browser, stack, options = {}) {
    const demo = new DemoPage();
    demo.context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
    demo.page = await demo.context.newPage();
    demo.faults = [];
    demo.troubled = ['/v1/events', '/dev/cut'];
    demo.page.on('pageerror', (error) => demo.faults.push(`error: ${error.message}`));
    demo.page.on('console', (message) => {
      // A stream that is cut, and an order that the wrong node refused, are told by the browser itself.
      const { pathname } = new URL(message.location().url || 'about:blank');
      if (message.type() === 'error' && !demo.troubled.includes(pathname)) demo.faults.push(`console: ${message.text()} ${pathname}`);
    });
    demo.page.on('request', (request) => {
      if (!request.url().startsWith(stack.origins.main)) demo.faults.push(`asked elsewhere: ${request.url()}`);
    });
    await demo.page.goto(`${stack.origins.main}/`);
    return demo;
  }

  /** One that is open, for as long as the test runs. */
  static async opened(t, browser, stack, options) {
    const demo = await DemoPage.open(browser, stack, options);
    t.after(() => demo.close());
    await demo.untilState('open');
    return demo;
  }

  /** Nothing that the page published about itself is missing, or came twice. */
  async assertNothingLost() {
    assert.deepEqual([await this.number('proof-missing'), await this.number('proof-repeated')], [0, 0]);
    assert.ok(await this.page.locator('#reset').isHidden(), 'no reset was told');
  }

  async close() {
    await this.context.close();
    assert.deepEqual(this.faults, []);
  }

  async text(id) {
    return this.page.locator(`#${id}`).textContent();
  }

  /** The value of `data-<name>`. */
  async data(id, name) {
    return this.page.locator(`#${id}`).getAttribute(`data-${name}`);
  }

  async number(id) {
    return Number((await this.text(id)).replace(/[^\d.-]/g, ''));
  }

  /** Waits for the connection to be in a state. */
  async untilState(state) {
    await this.until((wanted) => document.getElementById('state').dataset.state === wanted, state);
  }

  /** Waits until the page's own count of events received has gone up by `more`. */
  async untilReceived(more) {
    const goal = (await this.number('proof-received')) + more;
    await this.until((least) => Number(document.getElementById('proof-received').textContent) >= least, goal);
  }

  async until(condition, argument) {
    try {
      await this.page.waitForFunction(condition, argument, { polling: 30, timeout: WAIT_MS });
    } catch (error) {
      const strip = await this.page.locator('.strip').innerText().catch(() => 'no strip');
      throw new Error(`${condition} with ${JSON.stringify(argument)}: ${error.message.split('\n')[0]}\nThe page says: ${strip}`);
    }
  }

  /** Waits until all that makes the page lively is there. */
  async untilAlive() {
    await this.untilState('open');
    await this.until(() => /\d/.test(document.getElementById('price').textContent));
    await this.until(() => document.getElementById('log').children.length > 0 && document.getElementById('notices').children.length > 0);
  }
}
