// Charts as SVG, of series: { name, points: [[seconds, number]], isLimit }.
'use strict';

const PALETTE = ['#3274d9', '#56a64b', '#e0752d', '#8f3bb8', '#e0b400', '#19a3a3', '#c15c98', '#7c5a3a', '#6e9fff', '#96b73d', '#b05a5a', '#5c6b7a'];
const LEFT = 52;
const BOTTOM = 14;

function element(name, attributes, text) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function canvas(host) {
  const { width, height } = host.getBoundingClientRect();
  const svg = element('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none' });
  host.append(svg);
  return { svg, width, height };
}

/** A round number at or above: 1, 2, 2.5 or 5 times a power of ten. */
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= number * 0.9999);
}

/** Lines and grid of both axes; gives the functions from time and number to places. */
function axes({ svg, width, height }, [from, to], [low, high], label) {
  const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - 4);
  const y = (number) => height - BOTTOM - ((number - low) / (high - low)) * (height - BOTTOM - 6);
  for (let step = 0; step <= 4; step += 1) {
    const number = low + ((high - low) * step) / 4;
    svg.append(element('line', { x1: LEFT, x2: width - 4, y1: y(number), y2: y(number), stroke: '#e8eaed' }));
    if (step % 2 === 0) svg.append(element('text', { x: LEFT - 5, y: y(number) + 3, 'text-anchor': 'end' }, label(number)));
  }
  for (let step = 0; step <= 2; step += 1) {
    const time = from + ((to - from) * step) / 2;
    const anchor = ['start', 'middle', 'end'][step];
    svg.append(element('text', { x: x(time), y: height - 2, 'text-anchor': anchor }, step === 2 ? 'now' : `${Math.round(time - to)} s`));
  }
  return { x, y };
}

/** Stacks series upon each other, but for limits. */
function stacked(series) {
  const heights = new Map();
  return series.map((one) => {
    if (one.isLimit) return one;
    const base = [];
    const points = one.points.map(([time, number]) => {
      const below = heights.get(time) ?? 0;
      base.push([time, below]);
      heights.set(time, below + number);
      return [time, below + number];
    });
    return { ...one, points, base };
  });
}

function drawSeries(host, series, range, { unit, custom = {}, thresholds, max, min }) {
  const isStacked = custom.stacking?.mode === 'normal';
  const drawn = isStacked ? stacked(series) : series;
  const numbers = drawn.flatMap(({ points }) => points.map(([, number]) => number));
  const lines = custom.thresholdsStyle ? thresholds.steps.filter(({ value }) => value !== null) : [];
  const highest = Math.max(...numbers, 0);
  const near = lines.map(({ value }) => value).filter((value) => value < highest * 3);
  const scale = unit === 'bytes' ? 2 ** 20 : 1;
  const high = max ?? scale * roundUp(Math.max(highest, 1e-9, ...near) / scale);
  const low = min === undefined ? Math.min(...numbers, 0) : min;
  const place = canvas(host);
  const top = high > 1e-8 ? high : 1;
  const { x, y } = axes(place, range, [low < 0 ? -roundUp(-low) : low, top], (number) => format(number, unit));
  for (const { value, color } of lines.filter(({ value }) => value <= top && value >= low)) {
    place.svg.append(element('line', { x1: LEFT, x2: place.width, y1: y(value), y2: y(value), stroke: COLOURS[color], 'stroke-width': 1, opacity: 0.6 }));
  }
  drawn.forEach((one, index) => {
    const colour = one.isLimit ? COLOURS.red : PALETTE[index % PALETTE.length];
    for (const part of unbroken(one.points)) {
      const path = part.map(([time, number]) => `${x(time).toFixed(1)},${y(number).toFixed(1)}`).join(' ');
      if (one.base) {
        const floor = one.base.filter(([time]) => time >= part[0][0] && time <= part.at(-1)[0]).reverse();
        const under = floor.map(([time, number]) => `${x(time).toFixed(1)},${y(number).toFixed(1)}`).join(' ');
        place.svg.append(element('polygon', { points: `${path} ${under}`, fill: colour, opacity: 0.35 }));
      }
      place.svg.append(element('polyline', { points: path, fill: 'none', stroke: colour, 'stroke-width': 1.4, ...(one.isLimit && { 'stroke-dasharray': '6 4' }) }));
    }
  });
}

/** Pieces of a series between which nothing is missing. */
function unbroken(points) {
  const parts = [];
  for (const point of points) {
    const last = parts.at(-1)?.at(-1);
    if (last && point[0] - last[0] <= STEP * 1.5) parts.at(-1).push(point);
    else parts.push([point]);
  }
  return parts;
}

/** Buckets of a histogram: the first series is up to the lowest bound, each of the others up to its own. */
function drawHeatmap(host, series, range, { unit }) {
  const buckets = series.filter(({ labels }) => labels.le !== '+Inf').sort((a, b) => a.labels.le - b.labels.le);
  const columns = new Map();
  buckets.forEach(({ points }, row) => points.forEach(([time, upTo]) => {
    const column = columns.get(time) ?? [];
    column[row] = upTo;
    columns.set(time, column);
  }));
  const cells = [...columns].flatMap(([time, column]) => column.map((upTo, row) => [time, row, upTo - (row > 0 ? column[row - 1] ?? 0 : 0)]));
  const most = Math.max(...cells.map(([, , count]) => count), 1e-9);
  const place = canvas(host);
  const bound = (row) => (row === 0 ? '' : format(Number(buckets[Math.min(Math.round(row), buckets.length) - 1].labels.le), unit));
  const { x, y } = axes(place, range, [0, buckets.length], bound);
  const width = x(STEP) - x(0);
  for (const [time, row, count] of cells) {
    if (count <= 0 || time < range[0]) continue;
    const strength = 0.15 + 0.85 * Math.sqrt(count / most);
    place.svg.append(element('rect', { x: x(time), y: y(row + 1), width, height: y(row) - y(row + 1) - 1, fill: '#1f60c4', opacity: strength.toFixed(2) }));
  }
}
