// A real nginx with the switches that the tests turn. What is not turned is nginx's own default.

import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Child, until } from './processes.mjs';

const PAGES = new URL('./pages/', import.meta.url).pathname;
const PRODUCT = new URL('../../deploy/lb/nginx/', import.meta.url).pathname;
const LOG_FORMAT = [
  'at:$msec', 'front:$server_name', 'protocol:$server_protocol', 'method:$request_method', 'path:$request_uri', 'status:$status',
  'upstream:$upstream_addr', 'lastEventId:$http_last_event_id', 'origin:$http_origin', 'accept:$http_accept',
  'cookie:$http_cookie', 'site:$http_sec_fetch_site', 'seconds:$request_time',
].map((pair) => pair.replace(/^(\w+):(.*)$/, '"$1":"$2"')).join(',');

export class Nginx {
  /**
   * `fronts`: by name `{ port, nodes: [port…], tls, readTimeout, proxyDefaults, ignoreAccelBuffering }`. With `proxyDefaults`
   * nginx asks in HTTP/1.0, as it does unless told otherwise. `{ port, nodes, product: true }` is what deploy/lb/nginx gives users,
   * for three nodes, with only its addresses changed, and `corsOrigin` entered where users enter theirs.
   */
  constructor(folder, fronts) {
    this.folder = folder;
    this.fronts = fronts;
    this.accessLog = join(folder, 'access.log');
    this.config = join(folder, 'nginx.conf');
    if (Object.values(fronts).some((front) => front.tls)) certificate(folder);
    writeFileSync(this.accessLog, '');
    writeFileSync(this.config, configuration(folder, fronts));
  }

  async start() {
    const args = ['-p', this.folder, '-c', this.config, '-e', join(this.folder, 'nginx-error.log')];
    // TERM reaches a master that takes its workers along; KILL would leave them.
    this.child = new Child('nginx', 'nginx', args, { log: join(this.folder, 'nginx.log'), lastSignal: 'TERM' });
    await this.child.until('answers', async () => {
      const front = Object.values(this.fronts).find(({ tls }) => !tls);
      return front === undefined || (await fetch(`http://127.0.0.1:${front.port}/pages/reader.html`)).ok;
    });
  }

  /** Ends nginx and, with it, every connection through it. */
  async stop() {
    return this.child?.end('SIGTERM');
  }

  /** What the access log holds: one object a request, written when the request has ended. */
  requests(path = '/v1/events') {
    return readFileSync(this.accessLog, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line))
      .filter((request) => request.path.startsWith(path));
  }

  /** Waits until the log holds requests for which `wanted` says yes, and gives those. */
  async untilLogged(what, wanted, count = 1) {
    return until(`nginx logged ${what}`, () => {
      const found = this.requests('/').filter(wanted);
      return found.length >= count && found;
    });
  }
}

function certificate(folder) {
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost',
    '-addext', names, '-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem'),
  ], { stdio: 'pipe' });
}

function configuration(folder, fronts) {
  const user = process.getuid() === 0 ? 'user root;' : '';
  return `${user}
worker_processes 1;
daemon off;
pid ${folder}/nginx.pid;
error_log ${folder}/nginx-error.log info;
events { worker_connections 1024; }
http {
  types { text/html html; text/javascript js mjs; }
  log_format seen escape=json '{${LOG_FORMAT}}';
  access_log ${folder}/access.log seen;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join('\n  ')}
${Object.entries(fronts).map(([name, front]) => server(name, front, folder)).join('\n')}
}
`;
}

function product(name, front, folder) {
  copyFileSync(join(PRODUCT, 'sluice-locations.conf'), join(folder, 'sluice-locations.conf'));
  const changes = [
    ['listen 8080;', `listen 127.0.0.1:${front.port}; server_name ${name}; location /pages/ { alias ${PAGES}; }`],
    ...(front.corsOrigin ? [['# "https://app.example.com" $http_origin;', `"${front.corsOrigin}" $http_origin;`]] : []),
    ...front.nodes.map((port, index) => [`server 127.0.0.1:${8081 + index} `, `server 127.0.0.1:${port} `]),
  ];
  return changes.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`deploy/lb/nginx/sluice.conf does not say '${from}'`);
    return text.replaceAll(from, to);
  }, readFileSync(join(PRODUCT, 'sluice.conf'), 'utf8'));
}

function server(name, front, folder) {
  if (front.product) return product(name, front, folder);
  const tls = front.tls ? `ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem;` : '';
  return `
  upstream ${name} {
    least_conn;
    ${front.nodes.map((port) => `server 127.0.0.1:${port};`).join(' ')}
  }
  server {
    listen 127.0.0.1:${front.port}${front.tls ? ' ssl http2' : ''};
    server_name ${name};
    ${tls}
    location / {
      proxy_pass http://${name};
      ${front.proxyDefaults ? '' : 'proxy_http_version 1.1; proxy_set_header Connection "";'}
      proxy_set_header Host $http_host;
      proxy_read_timeout ${front.readTimeout ?? '1h'};
      ${front.ignoreAccelBuffering ? 'proxy_ignore_headers X-Accel-Buffering;' : ''}
    }
    location /pages/ { alias ${PAGES}; }
    location = /stop { return 204; }
  }`;
}
