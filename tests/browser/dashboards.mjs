// Takes the pictures of docs/dashboards.md from a Prometheus that has something to show, by the preview page:
// `node tests/browser/dashboards.mjs URL FOLDER`. `make dashboard-pictures` gives it one.

import { mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { launch } from './browser.mjs';

const GRAFANA = new URL('../../grafana/', import.meta.url).pathname;
const WIDTH = 1280;
const SECONDS = 80;
const MOST_BYTES = 300_000;

const [url, folder] = process.argv.slice(2);
if (!folder) throw new Error('usage: node tests/browser/dashboards.mjs URL FOLDER');
mkdirSync(folder, { recursive: true });
const browser = await launch();
try {
  for (const file of readdirSync(join(GRAFANA, 'dashboards'))) {
    const dashboard = JSON.parse(readFileSync(join(GRAFANA, 'dashboards', file), 'utf8'));
    const page = await browser.newPage({ viewport: { width: WIDTH, height: 800 } });
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(`file://${join(GRAFANA, 'preview/index.html')}`);
    await page.evaluate(([dashboard, url, seconds]) => preview(dashboard, url, seconds), [dashboard, url, SECONDS]);
    if (errors.length > 0) throw new Error(errors.join('\n'));
    const path = join(folder, file.replace(/^sluice-(.*)\.json$/, 'dashboard-$1.png'));
    await page.screenshot({ path, fullPage: true });
    await page.close();
    const { size } = statSync(path);
    console.log(`${path} ${size} bytes`);
    if (size > MOST_BYTES) throw new Error(`${path} is larger than ${MOST_BYTES} bytes`);
  }
} finally {
  await browser.close();
}
