{
  prometheusAlerts+:: {
    local config = $._config,

    // `alert` names the runbook, too.
    local alert(name, severity, held, expr, summary, description) = {
      alert: name,
      expr: expr,
      [if held != null then 'for']: held,
      labels: { severity: severity },
      annotations: {
        summary: summary,
        description: description,
        runbook_url: config.runbookUrl % name,
      },
    },

    groups+: [
      {
        name: 'lucid.agents',
        rules: [
          alert(
            'LucidSessionLooping',
            'warning',
            '1m',
            'lucid_longest_failure_seconds{failure_mode="loop"} > %d' % config.loopingSeconds,
            'An agent loops, and nothing has brought it out.',
            'A session at {{ $labels.instance }} has been looping for {{ $value | humanizeDuration }}: '
            + 'no action has cleared the loop, and the turn goes on.',
          ),
          alert(
            'LucidSessionStalled',
            'warning',
            '1m',
            |||
              max without (failure_mode) (lucid_longest_failure_seconds{failure_mode="stall"}) > %(stalledSeconds)d
              or
              lucid_longest_silence_seconds > %(silentSeconds)d
            ||| % config,
            'An agent gets nowhere in the midst of a turn.',
            'A session at {{ $labels.instance }} has made no progress for {{ $value | humanizeDuration }} '
            + 'since it was found to be stalled, or since its last sign of life.',
          ),
          alert(
            'LucidContextNearlyFull',
            'warning',
            '5m',
            'lucid_context_occupancy_max_ratio > %g' % config.contextRatio,
            "An agent's context window is nearly full, and nothing compacts it.",
            'The fullest context at {{ $labels.instance }} is used to {{ $value | humanizePercentage }}.',
          ),
          alert(
            'LucidFalseCompletion',
            'warning',
            null,
            |||
              max without (failure_mode) (lucid_longest_failure_seconds{failure_mode="false_completion"}) > 120
              or
              sum without (action, choice, failure_mode) (
                increase(lucid_decisions_total{failure_mode="false_completion", choice=~"exhausted|observe"}[15m])
              ) > 0
            |||,
            'An agent said that it was done, was not, and was left at that.',
            'At {{ $labels.instance }} a claim of completion is contradicted by what the tools returned, '
            + 'and no action has put it right.',
          ),
        ],
      },
      {
        name: 'lucid.recovery',
        rules: [
          alert(
            'LucidRecoveryFailing',
            'warning',
            '5m',
            |||
              failure_mode:lucid_recovery:ratio_increase30m < %(recoveryRatio)g
              and
              sum by (failure_mode) (increase(lucid_outcomes_total{status=~"cleared|failed"}[30m])) >= %(recoveryOutcomes)d
            ||| % config,
            'What the policy does about a failure mostly does not help.',
            'Of the actions on {{ $labels.failure_mode }} in the last 30 minutes only '
            + '{{ $value | humanizePercentage }} helped for good.',
          ),
          alert(
            'LucidInterventionsTooFrequent',
            'warning',
            '10m',
            'instance:lucid_interventions:per_session_increase30m > %g' % config.interventionsPerSession,
            'Lucid intervenes so often that it, or the task, is at fault.',
            'At {{ $labels.instance }} there were {{ $value | humanize }} interventions a session in the last 30 minutes.',
          ),
        ],
      },
      {
        name: 'lucid.supervisor',
        rules: [
          alert(
            'LucidIngestLagging',
            'warning',
            '10m',
            'instance:lucid_ingest_lag_seconds:p99_rate5m > %g' % config.ingestLagSeconds,
            'Verdicts come late: transcripts are read behind the agents.',
            'At {{ $labels.instance }} one entry in a hundred is judged {{ $value | humanizeDuration }} or more after it was written.',
          ),
          alert(
            'LucidStoreUnavailable',
            'critical',
            '2m',
            |||
              lucid_store_away > 0
              or
              sum without (operation) (increase(lucid_store_errors_total[2m])) > 0
            |||,
            'The store does not take what Lucid writes.',
            'At {{ $labels.instance }} the store is away or refuses writes ({{ $value | humanize }} sessions or operations): '
            + 'tool calls wait, or run unprotected, as the policy says.',
          ),
          alert(
            'LucidPolicyReloadFailed',
            'warning',
            '1m',
            'lucid_policy_last_reload_successful == 0',
            'A changed policy has faults, and the one before stays in use.',
            'At {{ $labels.instance }} the policy on disk is not the one in use.',
          ),
          alert(
            'LucidDown',
            'critical',
            '5m',
            'up{%s} == 0' % config.selector
            + (if config.absentIsDown then '\nor\nabsent(up{%s})\n' % config.selector else ''),
            'Lucid is gone: agents run unsupervised.',
            'Prometheus cannot scrape Lucid{{ if $labels.instance }} at {{ $labels.instance }}{{ end }}. '
            + 'Agents go on without verdicts and without recovery.',
          ),
        ],
      },
    ],
  },
}
