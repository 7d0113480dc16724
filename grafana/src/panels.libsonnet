// A small library of panels, so that each dashboard reads as a list. In a query `@` stands for the chosen cluster, namespace and
// node, `#` for cluster and namespace alone. Each panel has a title, a text that says what to make of it, a unit and queries.
local source = { type: 'prometheus', uid: '${datasource}' };
local deployment = 'cluster=~"$cluster", namespace=~"$namespace"';
local chosen = deployment + ', node=~"$node"';

local query(text) = std.strReplace(std.strReplace(text, '@', chosen), '#', deployment);

local green = { color: 'green', value: null };

// From a list of [expression, legend], each with what else Grafana wants.
local targets(list, extra={}) = [
  {
    datasource: source,
    refId: std.char(65 + i),
    expr: query(list[i][0]),
    legendFormat: list[i][1],
    range: true,
    instant: false,
  } + extra
  for i in std.range(0, std.length(list) - 1)
];

local panel(type, title, description, unit, list) = {
  type: type,
  title: title,
  description: description,
  datasource: source,
  targets: targets(list),
  fieldConfig: {
    defaults: { unit: unit, thresholds: { mode: 'absolute', steps: [green] } },
    overrides: [],
  },
  options: {},
};

{
  // Quantile `part` of histogram `name`; without observations nothing, rather than NaN.
  quantile(part, name, by='', labels='')::
    'histogram_quantile(%s, sum by (%sle) (rate(%s_bucket{@%s}[$__rate_interval]))) >= 0' % [
      part,
      if by == '' then '' else by + ', ',
      name,
      if labels == '' then '' else ', ' + labels,
    ],

  // Events per second of counter `name`, by a label.
  rate(name, by='', labels=''):: 'sum%s (rate(%s{@%s}[$__rate_interval]))' % [
    if by == '' then '' else ' by (%s)' % by,
    name,
    if labels == '' then '' else ', ' + labels,
  ],

  series(title, description, unit, list):: panel('timeseries', title, description, unit, list) {
    fieldConfig+: { defaults+: { min: 0, custom: { lineWidth: 1, fillOpacity: 8, showPoints: 'never' } } },
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
  },

  // The same, one upon the other.
  stacked(title, description, unit, list):: self.series(title, description, unit, list) {
    fieldConfig+: { defaults+: { custom+: { fillOpacity: 35, stacking: { mode: 'normal', group: 'A' } } } },
  },

  stat(title, description, unit, list):: panel('stat', title, description, unit, list) {
    options: { colorMode: 'background', graphMode: 'area', reduceOptions: { calcs: ['lastNotNull'] } },
  },

  heatmap(title, description, unit, expr):: panel('heatmap', title, description, unit, [[expr, '{{le}}']]) {
    targets: targets([[expr, '{{le}}']], { format: 'heatmap' }),
    options: { calculate: false, yAxis: { unit: unit }, color: { scheme: 'Blues', mode: 'scheme' }, cellGap: 1 },
  },

  // A row for each of `key`, a column for each query: [expression, column].
  table(title, description, key, list):: panel('table', title, description, 'none', list) {
    targets: targets(list, { format: 'table', instant: true, range: false }),
    transformations: [
      { id: 'joinByField', options: { byField: key, mode: 'outer' } },
      {
        id: 'organize',
        options: {
          excludeByName: { ['Time' + suffix]: true for suffix in [''] + [' %d' % (i + 1) for i in std.range(0, std.length(list) - 1)] },
          renameByName: { ['Value #' + std.char(65 + i)]: list[i][1] for i in std.range(0, std.length(list) - 1) },
        },
      },
    ],
  },

  // What colours a panel: from `warn` on orange, from `bad` on red.
  above(warn, bad):: {
    fieldConfig+: { defaults+: { thresholds: { mode: 'absolute', steps: [green, { color: 'orange', value: warn }, { color: 'red', value: bad }] } } },
  },
  // Below `bad` red, below `good` orange.
  below(bad, good):: {
    fieldConfig+: { defaults+: { thresholds: { mode: 'absolute', steps: [{ color: 'red', value: null }, { color: 'orange', value: bad }, { color: 'green', value: good }] } } },
  },
  // Draws the thresholds as lines.
  lines:: { fieldConfig+: { defaults+: { custom+: { thresholdsStyle: { mode: 'line' } } } } },
  most(value):: { fieldConfig+: { defaults+: { max: value } } },
  decimals(count):: { fieldConfig+: { defaults+: { decimals: count } } },
  // A series whose legend matches is a limit: red and dashed.
  limit(pattern):: {
    fieldConfig+: {
      overrides+: [{
        matcher: { id: 'byRegexp', options: pattern },
        properties: [
          { id: 'color', value: { mode: 'fixed', fixedColor: 'red' } },
          { id: 'custom.lineStyle', value: { fill: 'dash', dash: [8, 6] } },
          { id: 'custom.fillOpacity', value: 0 },
          { id: 'custom.stacking', value: { mode: 'none', group: 'A' } },
        ],
      }],
    },
  },
  column(name, unit):: {
    fieldConfig+: { overrides+: [{ matcher: { id: 'byName', options: name }, properties: [{ id: 'unit', value: unit }] }] },
  },

  // For the verifier: nothing to show is as it should be, and why. Grafana does not look at it.
  mayBeEmpty(why):: { mayBeEmpty: why },

  // For the verifier: its play provokes what is shown here, so that a line at 0 is no answer.
  provoked:: { provoked: true },
  // The same, of these lines alone, by their legends, where others rise whatever goes wrong; `a|b` is either.
  provokedAs(legends):: { provoked: legends },

  // Panels side by side, all of one height and, unless told, width; a closed row is opened with a click.
  row(title, panels, height=7, closed=false, widths=null):: {
    title: title,
    panels: panels,
    height: height,
    closed: closed,
    widths: if widths != null then widths else [std.floor(24 / std.length(panels)) for _ in panels],
  },
}
