// A monitoring mixin (https://monitoring.mixins.dev): `_config`, `prometheusAlerts`,
// `prometheusRules`, `grafanaDashboards`.
(import 'config.libsonnet')
+ (import 'rules.libsonnet')
+ (import 'alerts.libsonnet')
+ {
  grafanaDashboards+:: {
    'lucid-fleet.json': import '../grafana/lucid-fleet.json',
    'lucid-session.json': import '../grafana/lucid-session.json',
    'lucid-recovery.json': import '../grafana/lucid-recovery.json',
    'lucid-supervisor.json': import '../grafana/lucid-supervisor.json',
  },
}
