// Everything that stands between a publisher and a browser, as real processes: a redis-server, gateways, an nginx.

import { join } from 'node:path';

import { Redis } from 'ioredis';

import { Nginx } from './nginx.mjs';
import { Child, freePort, newFolder, removeFolder, until } from './processes.mjs';

const ROOT = new URL('../../', import.meta.url).pathname;
const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target');
const GATEWAY = process.env.SLUICE_GATEWAY_BIN ?? join(TARGET, 'debug/sluice-gateway');
const SLUICE = process.env.SLUICE_BIN ?? join(TARGET, 'debug/sluice');

// What every test wants shorter than an operator does.
const SETTINGS = {
  SLUICE__AUTH__MODE: 'anonymous',
  SLUICE__STREAM__RETRY: '200ms',
  SLUICE__DRAIN__READINESS_LEAD: '200ms',
  SLUICE__DRAIN__DEADLINE: '2s',
};

/** A gateway process, with ports of its own that outlive a restart. */
class Gateway {
  constructor(folder, number, redisPort, port, adminPort, settings, args) {
    Object.assign(this, { name: `gateway-${number}`, folder, redisPort, port, adminPort, settings, args });
  }

  async start() {
    const env = {
      ...SETTINGS,
      SLUICE__HTTP__BIND: `127.0.0.1:${this.port}`,
      SLUICE__ADMIN__BIND: `127.0.0.1:${this.adminPort}`,
      SLUICE__REDIS__URL: `redis://127.0.0.1:${this.redisPort}`,
      ...this.settings,
    };
    this.child = new Child(this.name, GATEWAY, this.args, { env, log: join(this.folder, `${this.name}.log`) });
    await this.child.until('is ready', async () => (await fetch(`http://127.0.0.1:${this.adminPort}/readyz`)).ok);
  }

  /** What `sluice.open` calls this node: `<host>:<pid>`. */
  isNamed(name) {
    return name.endsWith(`:${this.child.pid}`);
  }

  /** One value of `/metrics`; `label` is one value of its label. */
  async metric(name, label) {
    const text = await (await fetch(`http://127.0.0.1:${this.adminPort}/metrics`)).text();
    const line = text.split('\n').find((candidate) => {
      const [series] = candidate.split(' ');
      return label === undefined ? series === name : series.startsWith(`${name}{`) && series.includes(`"${label}"`);
    });
    if (line === undefined) throw new Error(`${this.name} has no metric ${name} ${label ?? ''}`);
    return Number(line.split(' ').at(-1));
  }

  /** Waits until so many streams are open here. */
  async untilStreams(count) {
    await until(`${this.name} has ${count} streams`, async () => (await this.metric('sluice_connections')) === count);
  }
}

/** Redis, gateways and nginx together. */
export class Stack {
  /**
   * `gateways`: a list of settings, one a node, or a function from the fronts' origins to it; `args` their command line.
   * `fronts`: by name, what nginx listens with: `{ nodes: [index…], corsFor: front, … }`, the rest as in nginx.mjs.
   */
  static async start({ gateways = [{}], args = [], fronts = { main: {} } }) {
    const stack = new Stack();
    try {
      await stack.begin(gateways, args, fronts);
    } catch (error) {
      await stack.end();
      throw error;
    }
    return stack;
  }

  constructor() {
    this.folder = newFolder();
    this.gateways = [];
    this.origins = {};
  }

  async begin(gateways, args, fronts) {
    const ports = {};
    for (const [name, front] of Object.entries(fronts)) {
      ports[name] = await freePort();
      this.origins[name] = `${front.tls ? 'https' : 'http'}://127.0.0.1:${ports[name]}`;
    }
    await this.startRedis();
    const settings = typeof gateways === 'function' ? gateways(this.origins) : gateways;
    for (const [number, own] of settings.entries()) {
      const gateway = new Gateway(this.folder, number, this.redisPort, await freePort(), await freePort(), own, args);
      this.gateways.push(gateway);
    }
    await Promise.all(this.gateways.map((gateway) => gateway.start()));
    const listening = Object.entries(fronts).map(([name, front]) => {
      const nodes = (front.nodes ?? [...this.gateways.keys()]).map((index) => this.gateways[index].port);
      return [name, { ...front, port: ports[name], nodes, corsOrigin: this.origins[front.corsFor] }];
    });
    this.nginx = new Nginx(this.folder, Object.fromEntries(listening));
    await this.nginx.start();
  }

  async startRedis() {
    this.redisPort = await freePort();
    const args = ['--port', this.redisPort, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', this.folder];
    this.redisServer = new Child('redis', 'redis-server', args.map(String), { log: join(this.folder, 'redis.log') });
    this.redis = new Redis({ host: '127.0.0.1', port: this.redisPort, lazyConnect: true, retryStrategy: (tries) => tries < 100 && 50 });
    this.redis.on('error', () => {});
    await this.redisServer.until('answers', async () => (await this.redis.ping()) === 'PONG');
  }

  /** Starts the demo page's backend, which publishes straight into Redis. */
  startDemo() {
    const args = ['demo', '--redis', `redis://127.0.0.1:${this.redisPort}`];
    this.demo = new Child('sluice demo', SLUICE, args, { log: join(this.folder, 'demo.log') });
  }

  /** Publishes as any service does, by the Redis function; gives the event's position. */
  async publish(channel, type, data) {
    return this.redis.call('FCALL', 'sluice_publish', 2, `sluice:{${channel}}:s`, `sluice:{${channel}}:m`, type, data);
  }

  /** Ends the streams of a channel, on all nodes, as an operator does: their clients come back. */
  async disconnect(channel) {
    await this.redis.publish('sluice:{_ctl}', JSON.stringify({ order: 'disconnect', channel }));
  }

  /** The gateway that calls itself `name` in `sluice.open`. */
  gatewayNamed(name) {
    const found = this.gateways.filter((gateway) => gateway.isNamed(name));
    if (found.length !== 1) throw new Error(`${found.length} gateways are named ${name}`);
    return found[0];
  }

  /** How many streams are open on all living nodes. */
  async streams() {
    const living = this.gateways.filter((gateway) => gateway.child?.isAlive());
    const counts = await Promise.all(living.map((gateway) => gateway.metric('sluice_connections')));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async untilStreams(count) {
    await until(`${count} streams are open`, async () => (await this.streams()) === count);
  }

  /** Ends all of it. */
  async end() {
    await this.nginx?.stop();
    await this.demo?.end();
    await Promise.all(this.gateways.map((gateway) => gateway.child?.end()));
    this.redis?.disconnect();
    await this.redisServer?.end();
    if (process.env.SLUICE_BROWSER_KEEP) console.error(`kept: ${this.folder}`);
    else removeFolder(this.folder);
  }
}

/** Publishes numbered events without a pause until it is told to stop. */
export class Publisher {
  constructor(stack, channel, type, everyMs = 10) {
    this.sent = [];
    this.stopped = false;
    this.done = (async () => {
      while (!this.stopped) {
        const text = String(this.sent.length + 1);
        await stack.publish(channel, type, text);
        this.sent.push(text);
        await new Promise((resolve) => setTimeout(resolve, everyMs));
      }
    })();
  }

  /** Waits until `count` more events are published. */
  async untilMore(count) {
    const goal = this.sent.length + count;
    await until(`${count} more events are published`, () => this.sent.length >= goal);
  }

  /** Stops, and gives the data of every event published. */
  async stop() {
    this.stopped = true;
    await this.done;
    return this.sent;
  }
}
