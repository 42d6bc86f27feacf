"""The kinds of panel that the dashboards are made of."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.models import common as layout
from grafana_foundation_sdk.models import dashboard as model

__all__ = ["Ask", "bars", "board", "figure", "lines", "selected", "stack", "steps"]

_DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_GREEN, _YELLOW, _RED = "green", "yellow", "red"

_Panel = TypeVar("_Panel", bargauge.Panel, stat.Panel, timeseries.Panel)


class Ask(NamedTuple):
    """A query and how its series are named."""

    expr: str
    legend: str = ""


def selected(*more: str) -> str:
    """The selector of every query: what the reader has chosen atop the dashboard."""
    return ", ".join(['job=~"$job"', 'instance=~"$instance"', *more])


def steps(warning: float, critical: float | None = None) -> dashboard.ThresholdsConfig:
    """Green, yellow from `warning`, red from `critical`; where that is lower, the other way
    round: red below it, green from `warning`."""
    if critical is None:
        colors: list[tuple[float | None, str]] = [(None, _GREEN), (warning, _RED)]
    elif critical > warning:
        colors = [(None, _GREEN), (warning, _YELLOW), (critical, _RED)]
    else:
        colors = [(None, _RED), (critical, _YELLOW), (warning, _GREEN)]
    return (
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=color) for value, color in colors])
    )


def figure(
    title: str,
    about: str,
    ask: Ask,
    *,
    unit: str = "short",
    thresholds: dashboard.ThresholdsConfig | None = None,
    span: int = 4,
) -> stat.Panel:
    """One number, and how it went; of one for the whole time that is shown, the number alone."""
    in_all = "$__range" in ask.expr
    shown = stat.Panel().title(title).description(about).unit(unit).span(span).height(4)
    shown.color_mode(
        layout.BigValueColorMode.VALUE if thresholds else layout.BigValueColorMode.NONE
    )
    shown.graph_mode(layout.BigValueGraphMode.NONE if in_all else layout.BigValueGraphMode.AREA)
    shown.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    shown.no_value("0" if unit == "short" else "–")  # noqa: RUF001 - a dash, as in a table
    return _asking(shown, [ask], thresholds or _plain(), now=in_all)


def lines(
    title: str,
    about: str,
    *asks: Ask,
    unit: str = "short",
    thresholds: dashboard.ThresholdsConfig | None = None,
    span: int = 12,
) -> timeseries.Panel:
    """Lines over time; a threshold is drawn across them."""
    shown = _over_time(title, about, unit, span).fill_opacity(0)
    if thresholds is not None:
        style = common.GraphThresholdsStyleConfig().mode(layout.GraphThresholdsStyleMode.DASHED)
        shown.thresholds_style(style)
    return _asking(shown, asks, thresholds or _plain())


def stack(
    title: str, about: str, *asks: Ask, unit: str = "short", span: int = 12
) -> timeseries.Panel:
    """What adds up to a whole, over time."""
    shown = _over_time(title, about, unit, span).fill_opacity(40)
    shown.stacking(common.StackingConfig().mode(layout.StackingMode.NORMAL))
    return _asking(shown, asks, _plain())


def bars(
    title: str,
    about: str,
    ask: Ask,
    *,
    unit: str = "short",
    most: float | None = None,
    thresholds: dashboard.ThresholdsConfig | None = None,
    span: int = 8,
) -> bargauge.Panel:
    """One bar for each series, as it is now."""
    shown = bargauge.Panel().title(title).description(about).unit(unit).span(span).height(8).min(0)
    if most is not None:
        shown.max(most)
    shown.orientation(layout.VizOrientation.HORIZONTAL)
    shown.display_mode(layout.BarGaugeDisplayMode.BASIC)
    shown.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _asking(shown, [ask], thresholds or _plain(), now=True)


def _over_time(title: str, about: str, unit: str, span: int) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(layout.LegendDisplayMode.LIST)
        .placement(layout.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    tooltip = (
        common.VizTooltipOptions()
        .mode(layout.TooltipDisplayMode.MULTI)
        .sort(layout.SortOrder.DESCENDING)
    )
    shown = timeseries.Panel().title(title).description(about).unit(unit).span(span).height(8)
    return shown.min(0).legend(legend).tooltip(tooltip)


def _asking(
    shown: _Panel,
    asks: list[Ask] | tuple[Ask, ...],
    at: dashboard.ThresholdsConfig,
    *,
    now: bool = False,
) -> _Panel:
    """Asked `now`, a series that is no more is not shown; over time, its last value would be."""
    shown.datasource(_DATASOURCE).thresholds(at)
    for ref, ask in zip("ABCDEF", asks, strict=False):
        query = prometheus.Dataquery().expr(ask.expr).ref_id(ref)
        query = query.instant() if now else query.range()
        query.legend_format(ask.legend or "__auto").datasource(_DATASOURCE)
        shown.with_target(query)
    return shown


def _plain() -> dashboard.ThresholdsConfig:
    steps = [model.Threshold(value=None, color=_GREEN)]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def board(name: str, title: str, about: str, *, one_instance: bool = False) -> dashboard.Dashboard:
    """An empty dashboard, with its variables and the way to the others."""
    made = dashboard.Dashboard(title).uid(f"lucid-{name}").description(about).tags(["lucid"])
    made.timezone("browser").refresh("30s").time("now-6h", "now").readonly()
    made.tooltip(model.DashboardCursorSync.CROSSHAIR)
    made.with_variable(
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    )
    made.with_variable(_variable("job", "label_values(lucid_build_info, job)", several=True))
    instances = 'label_values(lucid_build_info{job=~"$job"}, instance)'
    made.with_variable(_variable("instance", instances, several=not one_instance))
    others = dashboard.DashboardLink("Lucid").type(model.DashboardLinkType.DASHBOARDS)
    made.link(others.tags(["lucid"]).as_dropdown(True).include_vars(True).keep_time(True))
    return made


def _variable(name: str, query: str, *, several: bool) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(name.capitalize()).datasource(_DATASOURCE)
    variable.query(query).refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable.sort(model.VariableSort.ALPHABETICAL_ASC)
    if several:
        variable.multi(True).include_all(True).all_value(".+")
        variable.current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable
