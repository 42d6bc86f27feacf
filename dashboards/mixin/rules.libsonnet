// Recording rules: what several panels and alerts ask for.
{
  prometheusRules+:: {
    groups+: [
      {
        name: 'lucid.rules',
        rules: [
          {
            // For how much of what was tried it is known that it helped, and that it lasted. An
            // action that something else came before tells nothing; the end of a turn, which
            // policies check with the mode `stop`, is no failure.
            record: 'failure_mode:lucid_recovery:ratio_increase30m',
            expr: |||
              clamp_min(
                sum by (failure_mode) (increase(lucid_outcomes_total{failure_mode!="stop", status="cleared"}[30m]))
                -
                sum by (failure_mode) (increase(lucid_outcomes_total{failure_mode!="stop", status="relapsed"}[30m])),
                0
              )
              /
              (sum by (failure_mode) (increase(lucid_outcomes_total{failure_mode!="stop", status=~"cleared|failed"}[30m])) > 0)
            |||,
          },
          {
            // By process, for each session that it had in that time, those that ended included.
            // `stop` is a check at a turn's end, `interruption` the infrastructure's.
            record: 'instance:lucid_interventions:per_session_increase30m',
            expr: |||
              sum without (action, failure_mode) (increase(lucid_interventions_total{failure_mode!~"stop|interruption"}[30m]))
              /
              clamp_min(
                sum without (state) (lucid_sessions)
                +
                sum without (state) (increase(lucid_sessions_ended_total[30m])),
                1
              )
            |||,
          },
          {
            record: 'instance:lucid_ingest_lag_seconds:p99_rate5m',
            expr: 'histogram_quantile(0.99, rate(lucid_ingest_lag_seconds_bucket[5m]))',
          },
          {
            record: 'event:lucid_hook_duration_seconds:p99_rate5m',
            expr: 'histogram_quantile(0.99, sum by (event, le) (rate(lucid_hook_duration_seconds_bucket[5m])))',
          },
          {
            record: 'lucid:wasted_tokens:ratio_increase1h',
            expr: |||
              sum(increase(lucid_wasted_tokens_total[1h]))
              /
              (sum(increase(lucid_tokens_total[1h])) > 0)
            |||,
          },
        ],
      },
    ],
  },
}
