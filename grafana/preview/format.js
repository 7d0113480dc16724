// Numbers as the units of a panel want them.
'use strict';

const SCALES = {
  bytes: [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB'], [1, 'B']],
  Bps: [[1e6, 'MB/s'], [1e3, 'kB/s'], [1, 'B/s']],
  ops: [[1e6, 'M/s'], [1e3, 'k/s'], [1, '/s']],
  short: [[1e6, 'M'], [1e3, 'k'], [1, '']],
  none: [[1, '']],
};
const TIMES = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's'], [1e-3, 'ms'], [1e-6, 'µs']];

/** Three digits that say something. */
function digits(number, decimals) {
  if (decimals !== undefined) return number.toFixed(decimals);
  const size = Math.abs(number);
  if (size >= 100 || Number.isInteger(number)) return number.toFixed(0);
  return String(Number(number.toPrecision(size >= 10 ? 3 : 2)));
}

function format(number, unit, decimals) {
  if (unit === 'percentunit') return `${digits(number * 100, decimals)} %`;
  const scales = unit === 's' ? TIMES : SCALES[unit] ?? SCALES.none;
  const size = Math.abs(number);
  const [scale, name] = scales.find(([scale]) => size >= scale) ?? [1, scales.find(([scale]) => scale === 1)[1]];
  return `${digits(number / scale, decimals)}${name && ` ${name}`}`;
}

/** The legend of a series: `{{label}}` filled in. */
function legend(text, labels) {
  const filled = text.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');
  return filled.replace(/127\.0\.0\.1:\d+/g, 'n0');
}

/** The colour that a threshold gives to a number. */
function coloured(number, thresholds) {
  const steps = thresholds.steps.filter(({ value }) => value === null || number >= value);
  return COLOURS[steps.at(-1)?.color] ?? COLOURS.green;
}

const COLOURS = { green: '#2f8f46', orange: '#d97706', red: '#c4262e' };
