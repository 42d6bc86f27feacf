"""Chaos: `make chaos`, or `python -m tests.chaos [--runs N] [--only WORD ...]`.

Real workers run real agents on a scripted model, and are killed. What is measured is what
durability is for: whether another worker brings the session to its end, whether the model
learns of every call that may have run, and whether what the calls did happened once.

- `grid`: kinds of kill, times each phase of a turn, times each store
- `rows`: every story of how a turn may end (tests/fixtures/interruptions), gone on with
- `losses`: the store is lost in the middle of a run, and comes back
"""
