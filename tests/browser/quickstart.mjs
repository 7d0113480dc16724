// Takes a picture of the README's quickstart: its lines are typed as they stand, and the picture shows what they answer.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

import { until } from './processes.mjs';

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const PRINTED = '127.0.0.1:8080';
const STYLE = `
  body { margin: 0; background: #12181b; }
  pre { margin: 0; padding: 28px 32px; font: 15px/1.5 'DejaVu Sans Mono', monospace; color: #cfdadd; width: 100ch; }
  b { color: #f0a860; } i { color: #8fa3ab; font-style: normal; } u { color: #7fd6c2; text-decoration: none; }
`;

/** The README's only shell line that begins so. */
function line(beginning) {
  const found = README.split('\n').filter((text) => text.startsWith(beginning));
  if (found.length !== 1) throw new Error(`${found.length} lines of the README begin with ${beginning}`);
  return found[0];
}

/** A shell line with the servers at hand; `text` grows with what it prints. */
class Typed {
  constructor(command, address) {
    this.text = '';
    this.child = spawn('bash', ['-c', `exec ${command.replaceAll(PRINTED, address)}`], { stdio: ['ignore', 'pipe', 'ignore'] });
    this.child.stdout.on('data', (chunk) => (this.text += chunk));
    this.ended = once(this.child, 'close');
  }

  async untilPrinted(wanted) {
    await until(`${wanted} is printed`, () => this.text.includes(wanted));
  }

  async stop() {
    this.child.kill();
    await this.ended;
  }
}

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const shown = (text) => escape(text).replaceAll(/^(id: .*)$/gm, '<u>$1</u>').trimEnd();

/** The picture, at `path`. The gateway is to be one that nobody else uses. */
export async function takeQuickstart(browser, address, path) {
  const listen = line("curl -N 'http");
  const publish = line("curl -H 'Sluice-Event");
  const resume = line("curl -N -H 'Last-Event-ID");
  const printed = [];
  const say = (remark, command, output) => printed.push(`<i># ${remark}</i>\n<b>$ ${escape(command)}</b>\n${shown(output)}\n`);

  const listener = new Typed(listen, address);
  await listener.untilPrinted('sluice.open');
  const first = new Typed(publish, address);
  await first.ended;
  await listener.untilPrinted('order.created');
  await listener.stop();
  const second = new Typed(publish.replace('"id":1', '"id":2'), address);
  await second.ended;
  const last = listener.text.match(/^id: (.*)$/gm).at(-1).slice('id: '.length);
  const command = resume.replace(/Last-Event-ID: [^']*/, `Last-Event-ID: ${last}`);
  const resumed = new Typed(command, address);
  await resumed.untilPrinted('{"id":2}');
  await resumed.stop();

  say('listen', listen, listener.text);
  say('publish, in another terminal', publish, first.text);
  say('the listener is stopped; one more is published', publish.replace('"id":1', '"id":2'), second.text);
  say('go on after the last id: what was missed comes first', command, resumed.text);
  const page = await browser.newPage();
  await page.setContent(`<style>${STYLE}</style><pre>${printed.join('\n')}</pre>`);
  await page.locator('pre').screenshot({ path });
  await page.close();
}
