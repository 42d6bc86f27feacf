"""`Policy`: what to do for which verdict. Frozen values, checked as they are made.

Validated with `Plugins` as context (`load.parse_policy` does), names of detectors,
actions and failure modes are looked up and their settings checked. Without it the
parts must be given as values, as a program that builds a policy does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from supervisor.core.action import Capability
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.duration import Duration, duration_text, parse_duration
from supervisor.core.text import shown
from supervisor.core.verdict import FailureMode
from supervisor.policy.document import Loc
from supervisor.policy.escalation import Target, unasked, untold
from supervisor.policy.faults import fault, faults_in, refused, unknown
from supervisor.policy.judge import JUDGE, Opinions
from supervisor.policy.limits import (
    MAX_INTERVENTIONS,
    Budget,
    FilesMode,
    Limit,
    Limits,
    Silence,
    StoreAbsence,
    WhenAway,
)
from supervisor.policy.parts import Part, Plugins, plugin_settings, plugins_of
from supervisor.policy.risk import RiskUse
from supervisor.policy.rule import Mode, Rule, repeated_names, unreachable
from supervisor.policy.rung import Cooldown, Rung

__all__ = [
    "MAX_INTERVENTIONS",
    "Budget",
    "Cooldown",
    "Duration",
    "FilesMode",
    "Limit",
    "Limits",
    "Mode",
    "Plugins",
    "Policy",
    "Rule",
    "Rung",
    "Silence",
    "StoreAbsence",
    "WhenAway",
    "duration_text",
    "parse_duration",
]


_NOBODY = {
    (no_target, no_judge): frozenset(
        capability
        for capability, missing in ((Capability.NOTIFY, no_target), (Capability.ASK, no_judge))
        if missing
    )
    for no_target in (True, False)
    for no_judge in (True, False)
}
"""What cannot be done without targets to tell, and without a judge."""

TargetName = Annotated[str, Field(min_length=1, max_length=60)]


class Policy(Part):
    """What to do for which verdict. The first rule that matches decides."""

    version: Literal[1]
    include: tuple[str, ...] = ()
    """Policies that this one builds on. They are merged where the file is read, so a policy
    that is in use has none."""
    mode: Mode = Mode.ACT
    limits: Limits = Limits()
    store: StoreAbsence = StoreAbsence()
    files: FilesMode | None = None
    """None: checkpoints are taken where a rung restores files, since they cost something."""
    judge: Opinions | None = None
    """Who is asked for second opinions; None: nobody."""
    risk: RiskUse = RiskUse()
    """What is made of a session's learned risk."""
    detectors: Mapping[str, SerializeAsAny[DetectorConfig]] = Field(
        default_factory=dict, validate_default=True
    )
    """One configuration for every known detector: the file's, else the defaults."""
    escalation: Mapping[TargetName, Target] = Field(default_factory=dict)
    """Who can be told, by name."""
    rules: tuple[Rule, ...] = Field(min_length=1)

    def answers(self, mode: FailureMode) -> bool:
        """Whether something is done about failures of this mode, whoever finds them."""
        return any(self.acts(rule) and rule.answers(mode) for rule in self.rules)

    def acts(self, rule: Rule | None) -> bool:
        """Whether what a rule decides is done; None: what a limit decides."""
        mode = rule.mode if rule is not None and rule.mode is not None else self.mode
        return mode is Mode.ACT

    @property
    def unnamed(self) -> frozenset[Capability]:
        """What cannot be done since it names nobody to tell, or to ask."""
        return _NOBODY[not self.escalation, self.judge is None]

    @property
    def checkpoints_files(self) -> bool:
        """Whether checkpoints of the agent's files are taken."""
        if self.files is not None:
            return self.files is FilesMode.CHECKPOINTS
        return any(
            self.acts(rule) and _restores_files(rung)
            for rule, _, rung in self.rungs()
            if rule is None or rule.enabled
        )

    def rungs(self) -> Iterator[tuple[Rule | None, Loc, Rung]]:
        """Every step, with its rule (None for a limit's) and its place."""
        for number, rule in enumerate(self.rules):
            for step, rung in enumerate(rule.ladder):
                yield rule, ("rules", number, "ladder", step), rung
        for name, limit in self.limits:
            if isinstance(limit, Limit | Budget) and limit.then is not None:
                yield None, ("limits", name, "then"), limit.then

    @model_validator(mode="after")
    def _has_the_files_it_restores(self) -> Self:
        if self.files is not FilesMode.OFF:
            return self
        places = [place for _, place, rung in self.rungs() if _restores_files(rung)]
        if places:
            reason = f"{_path(places[0])} restores files, which takes 'checkpoints'"
            raise refused(fault(reason, ("files",)))
        return self

    @model_validator(mode="after")
    def _every_ladder_ends(self) -> Self:
        faults = []
        for rule, place, rung in self.rungs():
            if rung.until is None or rule is None:
                continue
            interrupted = FailureMode.INTERRUPTION in rule.on
            bounds = {"resumptions": self.limits.resumptions} if interrupted else {}
            if set(rule.on) - {FailureMode.INTERRUPTION}:
                bounds["interventions"] = self.limits.interventions
            faults += [
                fault(f"might go on for ever: set limits.{name}", (*place, rung.action, "until"))
                for name, limit in bounds.items()
                if limit is None
            ]
        if faults:
            raise refused(*faults)
        return self

    @model_validator(mode="after")
    def _names_whom_it_tells_and_asks(self, info: ValidationInfo) -> Self:
        plugins = plugins_of(info)
        if plugins is None:
            return self
        steps = [(place, rung) for _, place, rung in self.rungs()]
        faults = untold(self.escalation, steps, plugins)
        if self.judge is None:
            faults += unasked(steps)
        if faults:
            raise refused(*faults)
        return self

    @model_validator(mode="after")
    def _has_the_judge_it_waits_for(self) -> Self:
        for index, rule in enumerate(self.rules):
            if rule.detector == JUDGE and self.judge is None:
                reason = "asks for the judge's verdicts, and the policy has no 'judge'"
                raise refused(fault(reason, ("rules", index, "detector")))
        return self

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_known(cls, value: object) -> object:
        # Python takes true and 1.0 for 1.
        if type(value) is int and value == 1:
            return value
        raise refused(fault(f"must be 1, the version this Lucid reads, not {shown(value)}"))

    @field_validator("detectors", mode="before")
    @classmethod
    def _configure_detectors(cls, value: object, info: ValidationInfo) -> object:
        plugins = plugins_of(info)
        if plugins is None:
            return value
        settings = {} if value is None else value
        if not isinstance(settings, dict):
            raise refused(fault(f"must be a mapping of detectors' names, not {shown(value)}"))
        return _configurations(settings, plugins.detectors)

    @field_validator("rules", mode="wrap")
    @classmethod
    def _every_rule_counts(
        cls, value: object, handler: ValidatorFunctionWrapHandler
    ) -> tuple[Rule, ...]:
        repeated = repeated_names(value)
        try:
            rules: tuple[Rule, ...] = handler(value)
        except ValidationError as error:
            raise refused(*repeated, *faults_in(error, cls)) from None
        if faults := [*repeated, *unreachable(rules)]:
            raise refused(*faults)
        return rules


def _restores_files(rung: Rung) -> bool:
    return any(option.params.restores_files for option in rung.options)


def _path(place: Loc) -> str:
    return "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in place)[1:]


def _configurations(
    settings: Mapping[str, object], detectors: Mapping[str, type[Detector]]
) -> dict[str, DetectorConfig]:
    faults: list[InitErrorDetails] = [
        fault(unknown("detector", name, detectors), (name,), "key")
        for name in settings
        if name not in detectors
    ]
    configs: dict[str, DetectorConfig] = {}
    for name, detector in detectors.items():
        value = settings.get(name)
        if isinstance(value, bool):
            faults.append(fault(f"must be a mapping, such as {{enabled: {shown(value)}}}", (name,)))
            continue
        try:
            configs[name] = plugin_settings((name,), detector.Config, value)
        except ValidationError as error:
            faults += faults_in(error, detector.Config)
    if faults:
        raise refused(*faults)
    return configs
