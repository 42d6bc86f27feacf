"""How the page looks, by day and by night."""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --dim: #5f6b76; --line: #d5dbe1;
  --paper: #ffffff; --raised: #f5f7f9; --blue: #1f6feb; --red: #c4320a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --dim: #9aa5b1; --line: #3a424b;
  --paper: #14171a; --raised: #1d2226; --blue: #6ea8fe; --red: #ff8a65; } }
body { margin: 2rem auto; max-width: 68rem; padding: 0 1.25rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem;
  border-bottom: 1px solid var(--line); padding-bottom: .25rem; } h3 { font-size: 1rem; }
a { color: var(--blue); } nav a { margin-right: .75rem; }
table { border-collapse: collapse; margin: .75rem 0; display: block; overflow-x: auto; }
th, td { padding: .2rem .8rem .2rem 0;
  text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; } .figure { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.plots { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: .5rem 0; }
figcaption { color: var(--dim); font-size: 13px; max-width: 22rem; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--dim); font: 11px system-ui,
  sans-serif; } .frame { fill: none; stroke: var(--line); } .grid { stroke: var(--line);
  stroke-width: .5; } .baseline { fill: none; stroke: var(--dim); stroke-dasharray: 4 3; }
.curve { fill: none; stroke: var(--blue); stroke-width: 1.8; } .point { fill: var(--blue); }
.interval { stroke: var(--blue); stroke-width: 1; opacity: .6; } .bar { fill: var(--blue); }
.chosen { fill: none; stroke: var(--red); stroke-width: 2; r: 5px; }
details { background: var(--raised); border-radius: 6px; padding: .4rem .8rem; margin: .4rem 0; }
.place { color: var(--dim); font-size: 13px; } summary { cursor: pointer; }
summary, code { overflow-wrap: anywhere; } code { font-size: 13px; }
"""
