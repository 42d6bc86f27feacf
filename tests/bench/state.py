"""What judging one agent's transcript holds in memory."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.runtime import registry
from supervisor.runtime.judge import Judge
from supervisor.testing.fixtures import deep_size

__all__ = ["new_judge", "session_state_of", "state_of"]


def new_judge() -> Judge:
    """One with every detector, as they are by default."""
    return Judge("s", registry.detectors(), {})


def state_of(judge: Judge) -> int:
    """Bytes held for the one of its agents that takes most: detectors, checkpoints, signs of
    risk, and the readers. Their configurations, which agents and sessions share, are left out."""
    return deep_size(judge._readers) + max(_sizes(judge))


def session_state_of(judge: Judge) -> int:
    """Bytes held for all of its agents, those at work and what is left of the others."""
    return deep_size(judge._readers) + sum(_sizes(judge))


def _sizes(judge: Judge) -> Iterator[int]:
    for agent in judge._agents.values():
        yield deep_size(agent, without=[one.config for one in agent.detectors])
