"""What a policy makes of a session's learned risk."""

from __future__ import annotations

from pydantic import Field

from supervisor.policy.parts import Part

__all__ = ["RiskUse"]


class RiskUse(Part):
    """Whether verdicts tell how likely the run fails, and whether that moves them."""

    enabled: bool = Field(default=True, strict=True)
    """Off: no risk is told."""
    sharpen: bool = Field(default=False, strict=True)
    """Whether a risky run makes findings surer, and a calm one less sure. Off: the share of
    right findings was not better for it on held-out traces (docs/risk.md)."""
