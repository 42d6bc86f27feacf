// What a site may want to have otherwise. Override in `_config`, as README.md shows.
{
  _config+:: {
    // Which scrape targets are Lucid's. The default fits `job_name: lucid` and a PodMonitor's
    // `namespace/lucid...`.
    selector: 'job=~"(.*/)?lucid.*"',

    // Whether it is an alert that there is no Lucid at all. Switch it off where Lucid only
    // runs beside agents whose jobs come and go.
    absentIsDown: true,

    // Where the pages in runbooks/ are served. There is no public place for them yet.
    runbookUrl: 'https://lucid.example/runbooks/%s',

    // A ladder's first rungs take effect within seconds; a loop that outlives five minutes
    // outlives most of them.
    loopingSeconds: 5 * 60,

    // The detector of stalls has waited already before it says so.
    stalledSeconds: 5 * 60,

    // Nothing at all in the midst of a turn. Longer than all but 4 of 8,861 tool calls on record,
    // and shorter than the half hour after which a sidecar takes a silent session for ended.
    silentSeconds: 25 * 60,

    // Claude Code compacts by itself at 0.84 to 0.86: beyond, that failed or is switched off.
    contextRatio: 0.9,

    // Of the actions that could be judged, at least so many must have helped, and stayed so.
    recoveryRatio: 0.5,

    // Fewer outcomes than this in half an hour are chance.
    recoveryOutcomes: 5,

    // The shipped policies stop at 6 interventions in 30 minutes in one session.
    interventionsPerSession: 4,

    // A verdict that is late by as much comes several tool calls too late.
    ingestLagSeconds: 5,
  },
}
