"""What judging one agent's transcript holds in memory."""

from __future__ import annotations

from supervisor.runtime import registry
from supervisor.runtime.judge import Judge
from supervisor.testing.fixtures import deep_size

__all__ = ["new_judge", "state_of"]


def new_judge() -> Judge:
    """One with every detector, as they are by default."""
    return Judge("s", registry.detectors(), {})


def state_of(judge: Judge) -> int:
    """Bytes held for the one of its agents that takes most: detectors, checkpoints, signs of
    risk, and the readers. Their configurations, which agents and sessions share, are left out."""
    readers = deep_size(judge._readers)
    agents = judge._agents.values()
    return readers + max(
        deep_size(agent, without=[one.config for one in agent.detectors]) for agent in agents
    )
