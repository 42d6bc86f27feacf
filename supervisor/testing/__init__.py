"""A scripted model: test an agent, supervised or not, offline and for nothing.

`ScriptedModel` speaks the Messages API on a local port and plays a `Scenario`, a YAML
file whose replies depend on what is in the request's context. The real SDK and the
real CLI run against it unchanged; `cli_env` is the environment that points them at it.
See docs/testing.md.
"""

from supervisor.testing.context import Context
from supervisor.testing.environment import cli_env
from supervisor.testing.model import RecordedRequest, ScriptedModel
from supervisor.testing.scenario import (
    Fault,
    Reply,
    Scenario,
    ScenarioError,
    load_scenario,
    shipped_scenarios,
)

__all__ = [
    "Context",
    "Fault",
    "RecordedRequest",
    "Reply",
    "Scenario",
    "ScenarioError",
    "ScriptedModel",
    "cli_env",
    "load_scenario",
    "shipped_scenarios",
]
