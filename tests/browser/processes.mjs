// Real processes on free ports, that never outlive the test that started them: the kernel ends them with it
// (setpriv --pdeathsig), whatever way it goes.

import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

// Below the kernel's own range, so that no outgoing connection takes a port between its choice and its use.
const FIRST_PORT = 12_000;
const PORTS = 20_000;
const POLL_MS = 20;

const running = new Set();
const folders = new Set();
let nextPort = Math.floor(Math.random() * PORTS);

process.once('exit', () => {
  for (const child of running) child.signal(`SIG${child.lastSignal}`);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
// A runner that was killed cannot pass a signal on.
const parent = process.ppid;
setInterval(() => process.ppid === parent || process.exit(1), 500).unref();

/** A port of 127.0.0.1 that nobody listens on. */
export async function freePort() {
  for (let tries = 0; tries < PORTS; tries += 1) {
    const port = FIRST_PORT + (nextPort++ % PORTS);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port from ${FIRST_PORT} on`);
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** A new empty folder, removed when this process ends. */
export function newFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-browser-'));
  folders.add(folder);
  return folder;
}

export function removeFolder(folder) {
  rmSync(folder, { recursive: true, force: true });
  folders.delete(folder);
}

/** A child process that writes to `log`. `lastSignal` is what it gets should this process end before it. */
export class Child {
  constructor(name, command, args, { env = {}, log, lastSignal = 'KILL' }) {
    Object.assign(this, { name, log, lastSignal });
    const output = openSync(log, 'a');
    // setpriv becomes the command: the pid is the command's own.
    const whole = ['--pdeathsig', lastSignal, '--', command, ...args];
    this.process = spawn('setpriv', whole, {
      env: { PATH: process.env.PATH, TMPDIR: tmpdir(), ...env },
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    running.add(this);
    this.ended = new Promise((resolve) => {
      const end = (code, signal) => {
        running.delete(this);
        resolve({ code, signal });
      };
      this.process.once('error', (error) => end(`cannot be started: ${error.message}`, null));
      this.process.once('exit', end);
    });
  }

  get pid() {
    return this.process.pid;
  }

  /** Whether the kernel still knows the process and it is no zombie. */
  isAlive() {
    try {
      return !/\) [ZX] /.test(readFileSync(`/proc/${this.pid}/stat`, 'utf8'));
    } catch {
      return false;
    }
  }

  /** Sends a signal to this process alone. A process that has ended gets none: its number may be another's by now. */
  signal(signal) {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill(signal);
  }

  /** Sends a signal and waits for the end: `{ code, signal }`. */
  async end(signal = 'SIGKILL') {
    this.signal(signal);
    return this.ended;
  }

  /** Waits until `probe` gives something truthy; fails with the log's end once the process is gone. */
  async until(what, probe, limitMs = 20_000) {
    return until(`${this.name} ${what}`, async () => {
      if (!this.isAlive()) throw new Gone(`${this.name} ended before it ${what}:\n${tail(this.log)}`);
      return probe();
    }, limitMs);
  }
}

class Gone extends Error {}

/** Waits until `probe` gives something truthy, and gives that. An error of the probe counts as "not yet". */
export async function until(what, probe, limitMs = 10_000) {
  const end = Date.now() + limitMs;
  let last = 'nothing';
  while (Date.now() < end) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      if (error instanceof Gone) throw error;
      last = error;
    }
    await pause(POLL_MS);
  }
  throw new Error(`not within ${limitMs} ms: ${what}; last: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
}

function tail(path) {
  return readFileSync(path, 'utf8').split('\n').slice(-12).join('\n');
}
