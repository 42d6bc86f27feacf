"""Where the Grafana dashboards and the plain Prometheus rules are written from."""
