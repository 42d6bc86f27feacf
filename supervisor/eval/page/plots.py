"""The plots, as SVG elements that are styled by the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from supervisor.eval.page.markup import append, node
from supervisor.eval.stats import Bin, wilson

__all__ = ["histogram", "precision_recall", "reliability_plot"]

_SIDE = 200
"""Units of the plotted square."""
_LEFT, _TOP, _RIGHT, _BOTTOM = 38, 12, 12, 34
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LONGEST_DELAY = 30
"""Steps; what is beyond goes into the last bar."""


def precision_recall(
    curve: Sequence[tuple[float, float, float]],
    prevalence: float,
    chosen: tuple[float | None, float | None],
) -> Element:
    """Precision over recall as the threshold falls; `chosen` is recall and precision at the
    policy's, and the dashed line what always saying yes would have."""
    plot = _square("recall", "precision")
    append(plot, _line([(0, prevalence), (1, prevalence)], "baseline"))
    points = [(recall, precision) for _, recall, precision in curve]
    if points:
        append(plot, _line([(0.0, points[0][1]), *points], "curve"))
    for threshold, recall, precision in curve:
        about = f"confidence ≥ {threshold:.2f}: precision {precision:.2f}, recall {recall:.2f}"
        append(plot, _dot(recall, precision, "point", about))
    reached, right = chosen
    if reached is not None and right is not None:
        about = f"the policy: precision {right:.2f}, recall {reached:.2f}"
        append(plot, _dot(reached, right, "chosen", about))
    return plot


def reliability_plot(bins: Sequence[Bin]) -> Element:
    """The share that is right over what the confidence promised, with Wilson's interval."""
    plot = _square("confidence", "share right")
    append(plot, _line([(0, 0), (1, 1)], "baseline"))
    for one in bins:
        low, high = wilson(one.right, one.findings)
        about = f"confidence {one.mean:.2f}: {one.right} of {one.findings} right"
        append(plot, _line([(one.mean, low), (one.mean, high)], "interval"))
        append(plot, _dot(one.mean, one.share, "point", about, 2 + min(5.0, one.findings**0.5 / 2)))
    return plot


def histogram(delays: Sequence[int]) -> Element:
    """How many interventions came how many steps after the onset."""
    counts = Counter(max(-_LONGEST_DELAY, min(_LONGEST_DELAY, delay)) for delay in delays)
    first, last = min((0, *counts)), max((0, *counts))
    width, most = 1.6 * _SIDE / (last - first + 1), max(counts.values(), default=1)
    plot = _frame(1.6 * _SIDE, "steps from the onset", "traces")
    for delay, count in sorted(counts.items()):
        height = _SIDE * count / most
        bar = node(
            "rect",
            node("title", f"{_edge(delay)} steps: {count}"),
            class_="bar",
            x=round(_LEFT + (delay - first) * width + 0.5, 2),
            y=round(_TOP + _SIDE - height, 2),
            width=round(max(width - 1, 0.5), 2),
            height=round(height, 2),
        )
        append(plot, bar)
    for delay in sorted({first, 0, last}):
        across = _LEFT + (delay - first + 0.5) * width
        append(plot, _text(across, _TOP + _SIDE + 14, _edge(delay)))
    append(
        plot,
        _text(_LEFT - 6, _TOP + 8, str(most), "end"),
        _text(_LEFT - 6, _TOP + _SIDE, "0", "end"),
    )
    return plot


def _edge(delay: int) -> str:
    """The first and the last bar may hold what lies beyond them."""
    if abs(delay) < _LONGEST_DELAY:
        return str(delay)
    return f"≤ {delay}" if delay < 0 else f"≥ {delay}"


def _frame(width: float, across: str, up: str) -> Element:
    plot = node(
        "svg",
        viewBox=f"0 0 {_LEFT + width + _RIGHT:g} {_TOP + _SIDE + _BOTTOM}",
        width=_LEFT + width + _RIGHT,
        height=_TOP + _SIDE + _BOTTOM,
        role="img",
        aria_label=f"{up} over {across}",
    )
    border = node("rect", class_="frame", x=_LEFT, y=_TOP, width=width, height=_SIDE)
    name = _text(_LEFT + width / 2, _TOP + _SIDE + 29, across)
    middle = _TOP + _SIDE / 2
    turned = _text(9, middle, up)
    turned.set("transform", f"rotate(-90 9 {middle:g})")
    append(plot, border, name, turned)
    return plot


def _square(across: str, up: str) -> Element:
    plot = _frame(_SIDE, across, up)
    for tick in _TICKS:
        if 0 < tick < 1:
            append(
                plot, _line([(tick, 0), (tick, 1)], "grid"), _line([(0, tick), (1, tick)], "grid")
            )
        x, y = _at(tick, tick)
        append(
            plot,
            _text(x, _TOP + _SIDE + 14, f"{tick:g}"),
            _text(_LEFT - 5, y + 4, f"{tick:g}", "end"),
        )
    return plot


def _at(x: float, y: float) -> tuple[float, float]:
    return round(_LEFT + x * _SIDE, 2), round(_TOP + (1 - y) * _SIDE, 2)


def _line(points: Sequence[tuple[float, float]], kind: str) -> Element:
    drawn = " ".join(f"{x:g},{y:g}" for x, y in (_at(*point) for point in points))
    return node("polyline", class_=kind, points=drawn)


def _dot(x: float, y: float, kind: str, about: str, radius: float = 2.5) -> Element:
    across, down = _at(x, y)
    return node("circle", node("title", about), class_=kind, cx=across, cy=down, r=radius)


def _text(x: float, y: float, text: str, anchor: str = "middle") -> Element:
    return node("text", text, x=round(x, 2), y=round(y, 2), text_anchor=anchor)
