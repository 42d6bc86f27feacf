"""`Target`: somebody whom an escalation tells, and how."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import InitErrorDetails

from supervisor.core.action import Capability
from supervisor.core.duration import Duration, duration_text
from supervisor.core.text import shown
from supervisor.policy.document import Loc
from supervisor.policy.faults import fault, unknown
from supervisor.policy.parts import Part, Plugins
from supervisor.policy.rung import Rung

__all__ = ["Target", "unasked", "untold"]

_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = timedelta(hours=1)


def _is_address(value: str) -> str:
    """Checks a `http` or `https` address, or a variable that holds one."""
    if _VARIABLE.fullmatch(value):
        return value
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"must be a http or https address, or $VARIABLE, not {shown(value)}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a password: put the address into a variable, and write $VARIABLE")
    return value


def _is_variable(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"must be the name of an environment variable, not {shown(value)}")
    return value


Address = Annotated[str, Field(strict=True), AfterValidator(_is_address)]
Variable = Annotated[str, Field(strict=True), AfterValidator(_is_variable)]


class Target(Part):
    """Where an escalation is posted to: one of `webhook`, `alertmanager` and `slack`.

    What is secret stands in the environment, and here its variable's name: a policy is kept
    with every session that runs under it.
    """

    webhook: Address | None = None
    """Gets a JSON object, signed where there is a secret."""
    alertmanager: Address | None = None
    """An Alertmanager's address; gets an alert by its API v2."""
    slack: Address | None = None
    """Gets a message in the form of Slack's incoming webhooks."""
    secret_env: Variable | None = None
    """Holds the secret that the webhook's posts are signed with (HMAC-SHA256)."""
    token_env: Variable | None = None
    """Holds a token that is sent along, as `Authorization: Bearer`."""
    quotes: bool = Field(default=False, strict=True)
    """Whether the message quotes the transcript: the objective, and the verdict's evidence."""
    timeout: Duration = timedelta(seconds=10)
    """For one attempt."""
    within: Duration = timedelta(minutes=5)
    """For how long it is tried, an hour at most."""

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        ways = [way for way in (self.webhook, self.alertmanager, self.slack) if way is not None]
        if len(ways) != 1:
            raise ValueError("must be one of 'webhook', 'alertmanager' and 'slack'")
        if self.secret_env is not None and self.webhook is None:
            raise ValueError("only a webhook's posts are signed: leave out 'secret_env'")
        for name, value in (("timeout", self.timeout), ("within", self.within)):
            if value > _LONGEST:
                raise ValueError(f"{name!r} must be {duration_text(_LONGEST)} at most")
        return self

    @property
    def way(self) -> Literal["webhook", "alertmanager", "slack"]:
        """The form in which it is told."""
        if self.webhook is not None:
            return "webhook"
        return "alertmanager" if self.alertmanager is not None else "slack"

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that it needs."""
        held = _VARIABLE.fullmatch(self._written)
        names = (held[1] if held else None, self.secret_env, self.token_env)
        return tuple(name for name in names if name is not None)

    def address(self, environment: Mapping[str, str]) -> str:
        """Where to post. Raises `KeyError` where its variable is not in `environment`."""
        held = _VARIABLE.fullmatch(self._written)
        return environment[held[1]] if held else self._written

    @property
    def _written(self) -> str:
        return self.webhook or self.alertmanager or self.slack or ""


def untold(
    targets: Mapping[str, Target], rungs: Iterable[tuple[Loc, Rung]], plugins: Plugins
) -> list[InitErrorDetails]:
    """A fault for each step that tells somebody whom the policy does not name."""
    faults = []
    for place, rung in rungs:
        if rung.optional and not targets:
            continue
        for option in rung.options:
            action = plugins.actions.get(option.action)
            if action is None or Capability.NOTIFY not in action.needs:
                continue
            to = getattr(option.params, "to", None)
            if to is None and not targets:
                reason = "tells nobody: name somebody under 'escalation'"
                faults.append(fault(reason, (*place, option.action)))
            elif to is not None and to not in targets:
                reason = unknown("target", to, targets)
                faults.append(fault(reason, (*place, option.action, "to")))
    return faults


def unasked(rungs: Iterable[tuple[Loc, Rung]]) -> list[InitErrorDetails]:
    """A fault for each step that asks a judge, in a policy that has none."""
    return [
        fault("asks a judge, and the policy has no 'judge'", (*place, option.action))
        for place, rung in rungs
        if not rung.optional
        for option in rung.options
        if Capability.ASK in option.params.needs
    ]
