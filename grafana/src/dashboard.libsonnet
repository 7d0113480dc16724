// From rows of panels to a dashboard: places, numbers, variables, links to the others, and a mark for each node that starts.
local width = 24;
local source = { type: 'prometheus', uid: '${datasource}' };
local chosen = 'cluster=~"$cluster", namespace=~"$namespace", node=~"$node"';

local labels(name, before) = {
  local filter = std.join(', ', ['%s=~"$%s"' % [label, label] for label in before]),
  name: name,
  label: name,
  type: 'query',
  datasource: source,
  query: { query: 'label_values(sluice_build_info%s, %s)' % [if filter == '' then '' else '{%s}' % filter, name], refId: name },
  refresh: 2,
  sort: 1,
  multi: true,
  includeAll: true,
  // Finds what has no such label, too.
  allValue: '.*',
  current: { text: 'All', value: '$__all' },
};

// Each row gets a heading, and its panels the places below it.
local placed(rows) = std.foldl(
  function(done, row)
    local count = std.length(row.panels);
    local first = done.id + 1;
    local panels = [
      row.panels[i] { id: first + i, gridPos: { x: std.foldl(function(sum, w) sum + w, row.widths[0:i], 0), y: done.y + 1, w: row.widths[i], h: row.height } }
      for i in std.range(0, count - 1)
    ];
    local heading = {
      type: 'row',
      title: row.title,
      id: done.id,
      collapsed: row.closed,
      gridPos: { x: 0, y: done.y, w: width, h: 1 },
      panels: if row.closed then panels else [],
    };
    {
      id: first + count,
      y: done.y + 1 + (if row.closed then 0 else row.height),
      panels: done.panels + [heading] + (if row.closed then [] else panels),
    },
  rows,
  { id: 1, y: 0, panels: [] }
).panels;

function(name, title, description, rows) {
  uid: name,
  title: title,
  description: description,
  tags: ['sluice'],
  editable: false,
  graphTooltip: 1,
  schemaVersion: 39,
  version: 1,
  refresh: '30s',
  time: { from: 'now-3h', to: 'now' },
  timezone: 'browser',
  annotations: {
    list: [{
      name: 'Starts',
      datasource: source,
      enable: true,
      iconColor: 'purple',
      expr: 'sluice_build_info{%s} and on (cluster, namespace, node) time() - process_start_time_seconds{job="sluice", %s} < 60' % [chosen, chosen],
      step: '30s',
      titleFormat: '{{node}} started',
      textFormat: '{{version}} {{commit}}',
    }],
  },
  links: [{
    type: 'dashboards',
    title: 'Sluice',
    tags: ['sluice'],
    asDropdown: false,
    includeVars: true,
    keepTime: true,
  }],
  templating: {
    list: [
      { name: 'datasource', label: 'datasource', type: 'datasource', query: 'prometheus', current: {}, refresh: 1 },
      labels('cluster', []),
      labels('namespace', ['cluster']),
      labels('node', ['cluster', 'namespace']),
    ],
  },
  panels: placed(rows),
}
