// `jsonnet --multi grafana/dashboards grafana/src/main.jsonnet`
{
  'sluice-overview.json': import 'overview.libsonnet',
  'sluice-delivery.json': import 'delivery.libsonnet',
  'sluice-connections.json': import 'connections.libsonnet',
  'sluice-redis.json': import 'redis.libsonnet',
  'sluice-nodes.json': import 'nodes.libsonnet',
  'sluice-capacity.json': import 'capacity.libsonnet',
}
