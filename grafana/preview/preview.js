// Draws a dashboard of Grafana from a Prometheus: `preview(dashboard, url, seconds)`. It knows as much of Grafana as these need.
'use strict';

const STEP = 2;
/** What sluice_build_info says of a node. */
const BUILD = ['version', 'commit'];
const VARIABLES = [
  ['$__rate_interval', '10s'], ['$__interval', '5s'], ['$__range', '60s'], ['$cluster', '.*'], ['$namespace', '.*'], ['$node', '.*'],
];

async function ask(url, path, parameters) {
  const answer = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const { status, data, error } = await answer.json();
  if (status !== 'success') throw new Error(`${parameters.query}: ${error}`);
  return data.result;
}

function substituted(query) {
  return VARIABLES.reduce((text, [name, value]) => text.replaceAll(name, value), query);
}

/** All series of a panel's queries. */
async function answered(panel, url, [from, to]) {
  const limits = (panel.fieldConfig.overrides ?? []).filter(({ matcher }) => matcher.id === 'byRegexp').map(({ matcher }) => new RegExp(matcher.options));
  const answers = await Promise.all(panel.targets.map(async ({ expr, legendFormat }, target) => {
    const result = await ask(url, 'query_range', { query: substituted(expr), start: from, end: to, step: STEP });
    return result.map(({ metric, values }) => {
      const name = legend(legendFormat, metric);
      const points = values.map(([time, number]) => [time, Number(number)]).filter(([, number]) => Number.isFinite(number));
      return { name, target, labels: metric, points, isLimit: limits.some((limit) => limit.test(name)) };
    });
  }));
  return answers.flat();
}

/** How large a series is on the whole: the largest come first in a legend. */
function weight({ points, isLimit }) {
  return isLimit ? Infinity : points.reduce((sum, [, number]) => sum + Math.abs(number), 0);
}

function add(parent, name, attributes = {}, text) {
  const node = Object.assign(document.createElement(name), attributes);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function drawStat(section, series, { unit, decimals, thresholds }) {
  const number = series[0].points.at(-1)[1];
  const node = add(section, 'div', { className: 'stat' }, format(number, unit, decimals));
  node.style.background = coloured(number, thresholds);
}

function drawTable(section, series, panel) {
  const columns = panel.targets.map(({ legendFormat }) => legendFormat);
  const units = Object.fromEntries(panel.fieldConfig.overrides.map(({ matcher, properties }) => [matcher.options, properties[0].value]));
  const nodes = [...new Set(series.map(({ labels }) => labels.node))].sort();
  const table = add(section, 'table');
  const head = add(table, 'tr');
  for (const name of ['node', ...BUILD, ...columns.slice(1)]) add(head, 'th', {}, name);
  for (const node of nodes) {
    const row = add(table, 'tr');
    const own = series.filter(({ labels }) => labels.node === node);
    add(row, 'td', {}, legend(node, {}));
    const build = own.find(({ target }) => target === 0)?.labels ?? {};
    for (const label of BUILD) add(row, 'td', {}, build[label] ?? '');
    columns.slice(1).forEach((name, index) => {
      const last = own.find(({ target }) => target === index + 1)?.points.at(-1);
      add(row, 'td', {}, last ? format(last[1], units[name] ?? 'short') : '');
    });
  }
}

function drawLegend(section, series) {
  if (!series.some(({ name }) => name)) return;
  const node = add(section, 'div', { className: 'legend' });
  series.forEach(({ name, isLimit }, index) => {
    const entry = add(node, 'span');
    add(entry, 'i').style.background = isLimit ? COLOURS.red : PALETTE[index % PALETTE.length];
    entry.append(name);
  });
}

async function draw(panel, top, url, range) {
  const { x, y, w, h } = panel.gridPos;
  const section = add(document.querySelector('main'), 'section', { title: panel.description });
  Object.assign(section.style, { gridColumn: `${x + 1} / span ${w}`, gridRow: `${y + 1 - top} / span ${h}` });
  add(section, 'h3', {}, panel.title);
  const series = (await answered(panel, url, range)).filter(({ points }) => points.length > 0);
  if (series.length === 0) {
    add(section, 'div', { className: 'none' }, panel.mayBeEmpty ?? 'No data');
    return;
  }
  const look = panel.fieldConfig.defaults;
  if (panel.type === 'stat') drawStat(section, series, look);
  else if (panel.type === 'table') drawTable(section, series, panel);
  else {
    const chart = add(section, 'div', { className: 'chart' });
    if (panel.type === 'heatmap') drawHeatmap(chart, series, range, look);
    else {
      series.sort((a, b) => weight(b) - weight(a));
      drawLegend(section, series);
      drawSeries(chart, series, range, look);
    }
  }
}

async function preview(dashboard, url, seconds) {
  document.querySelector('h1').textContent = dashboard.title;
  const to = Math.floor(Date.now() / 1000);
  const panels = dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
  const main = document.querySelector('main');
  const drawn = panels.map(async (panel) => {
    if (panel.type === 'row') {
      add(main, 'h2', {}, panel.title).style.gridRow = `${panel.gridPos.y + 1}`;
    } else await draw(panel, 0, url, [to - seconds, to]);
  });
  await Promise.all(drawn);
}
