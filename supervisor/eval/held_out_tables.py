"""What `held_out` found, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from supervisor.core.text import one_line
from supervisor.eval.held_out import PARTS, HeldOut
from supervisor.eval.stats import Confusion
from supervisor.eval.tables import Table, number

__all__ = ["MARK", "held_out_tables"]

MARK = "<!-- held out: written by lucid eval --held-out, not by hand -->"
"""Where a page of documentation has these tables."""


def held_out_tables(found: Mapping[str, HeldOut]) -> Iterator[Table]:
    """By set and class, and what was chosen."""
    yield from (table for table in (_figures(found), _choices(found)) if table.rows)


def _figures(found: Mapping[str, HeldOut]) -> Table:
    return Table(
        title="Held out",
        caption=f"Grouped cross-validation in {PARTS} parts, by task, of loop cases by the system "
        "they come from. caught, false: traces with an intervention, held out, of those that "
        "hold the class and of those that do not. shipped: with the defaults, on the same traces.",
        headings=("data set", "class", "caught", "false", "MCC", "MCC shipped"),
        words=2,
        rows=[
            (
                one_line(dataset, 40),
                failure,
                f"{held_out.tp} of {held_out.tp + held_out.fn}",
                f"{held_out.fp} of {held_out.fp + held_out.tn}" if _has_both(held_out) else "-",
                number(held_out.mcc if _has_both(held_out) else None),
                number(shipped.mcc if _has_both(shipped) else None),
            )
            for one in found.values()
            for dataset, failure, shipped, held_out in one.confusions()
        ],
    )


def _has_both(counted: Confusion) -> bool:
    return counted.fp + counted.tn > 0


def _choices(found: Mapping[str, HeldOut]) -> Table:
    return Table(
        title="What was chosen",
        caption="In how many parts each setting did best on the others: the defaults, or one "
        "threshold moved. healthy: sessions flagged, held out and with the defaults.",
        headings=("detector", "settings tried", "chosen", "healthy", "flagged", "shipped"),
        words=3,
        rows=[_choice(name, one) for name, one in found.items()],
    )


def _choice(name: str, one: HeldOut) -> tuple[str, ...]:
    chosen = ", ".join(f"{setting} ({times})" for setting, times in one.choices.most_common())
    sessions, shipped, held_out = one.healthy()
    return name, str(len(one.settings)), chosen, str(sessions), str(held_out), str(shipped)
