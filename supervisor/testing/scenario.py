"""`Scenario`: how the scripted model behaves, as data, and the loader of its YAML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self, TypeVar, overload

import yaml
from pydantic import (
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from supervisor.errors import SupervisorError
from supervisor.testing.conditions import Data, When
from supervisor.testing.context import Context

__all__ = [
    "Fault",
    "PlannedCall",
    "Reply",
    "Scenario",
    "ScenarioError",
    "UsageOverride",
    "load_scenario",
    "shipped_scenarios",
]

_SHIPPED = Path(__file__).parent / "scenarios"

Moment = Literal["before", "midway"]
Shape = TypeVar("Shape", bound="Scenario")


class ScenarioError(SupervisorError):
    """A scenario cannot be used; `faults` holds every reason, each with its place."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(faults))


class PlannedCall(Data):
    """A tool call that a reply makes."""

    tool: str
    input: dict[str, JsonValue] = Field(default_factory=dict)


class UsageOverride(Data):
    """Token counts to report in place of the estimated ones."""

    input_tokens: NonNegativeInt | None = None
    output_tokens: NonNegativeInt | None = None
    cache_read_input_tokens: NonNegativeInt | None = None
    cache_creation_input_tokens: NonNegativeInt | None = None


class Fault(Data):
    """A failure of the service: an HTTP error, a hang, or a dropped connection."""

    status: int | None = Field(default=None, ge=400, le=599)
    type: str | None = None
    """The API's name of the error; by default the one that belongs to the status."""
    message: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    hang: Moment | None = None
    """Keep the connection open and send nothing more, until either side goes away."""
    drop: Moment | None = None
    """Abort the connection."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.status, self.hang, self.drop)) != 1:
            raise ValueError("give exactly one of status, hang and drop")
        if self.status is None and (self.type or self.message or self.headers):
            raise ValueError("type, message and headers go with a status only")
        return self

    @property
    def midway(self) -> bool:
        """Whether the failure comes after half of a streamed message."""
        return "midway" in (self.hang, self.drop)


class Reply(Data):
    """What the model answers, and to which contexts."""

    name: str = Field(min_length=1)
    when: When = When()
    times: PositiveInt | None = None
    """How often it may be used in the life of one model; without it, always."""
    thinking: str | None = None
    text: str | None = None
    calls: tuple[PlannedCall, ...] = ()
    delay: NonNegativeFloat | None = None
    """Seconds before the first byte; by default the scenario's."""
    usage: UsageOverride = UsageOverride()
    fault: Fault | None = None

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        content = bool(self.thinking or self.text or self.calls)
        if self.fault is None and not content:
            raise ValueError("give a text, thinking, calls or a fault")
        if (
            self.fault is not None
            and content
            and "midway" not in (self.fault.hang, self.fault.drop)
        ):
            raise ValueError("only a fault midway has content: there is no message otherwise")
        return self

    def answers(self, context: Context) -> bool:
        """Whether the reply is meant for such a request and its conditions hold."""
        return context.request == (self.when.request or "ordinary") and self.when.holds(context)


class Scenario(Data):
    """A story for the scripted model to play."""

    about: str = Field(min_length=1)
    """What the model does, and why, in a few sentences."""
    objective: str | None = None
    """The prompt that the story begins with."""
    env: dict[str, str] = Field(default_factory=dict)
    """Variables that the CLI needs for the story; `ScriptedModel.env` holds them."""
    max_turns: PositiveInt | None = None
    """The turn limit that ends the story where the model does not."""
    files: dict[str, str] = Field(default_factory=dict)
    """Path (relative to the agent's working folder) to content; see `prepare`."""
    delay: NonNegativeFloat = 0.0
    """Seconds before each reply's first byte."""
    replies: tuple[Reply, ...]
    """The first that answers the context, and is not used up, is given."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not self.replies:
            raise ValueError("replies: at least one is needed")
        counts = Counter(reply.name for reply in self.replies)
        repeated = sorted(name for name, count in counts.items() if count > 1)
        if repeated:
            raise ValueError(f"names of replies must be unique: {', '.join(repeated)}")
        return self

    def reply_to(self, context: Context, used: Mapping[str, int] | None = None) -> Reply | None:
        """The reply that the context calls for, or None; `used` counts replies by name."""
        used = used or {}
        for reply in self.replies:
            if reply.times is not None and used.get(reply.name, 0) >= reply.times:
                continue
            if reply.answers(context):
                return reply
        return None

    def prepare(self, folder: Path) -> None:
        """Write the scenario's files below `folder`, making folders as needed.

        Raises `ScenarioError`, before anything is written, where a path leaves `folder`.
        """
        root = folder.resolve()
        targets = {name: (root / name).resolve() for name in self.files}
        outside = [name for name, path in targets.items() if root not in path.parents]
        if outside:
            raise ScenarioError([f"files[{name!r}]: leaves the folder {root}" for name in outside])
        for name, path in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.files[name], encoding="utf-8")


def shipped_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that come with Lucid, for `load_scenario`."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.yaml")))


@overload
def load_scenario(source: str | Path) -> Scenario:
    """A scenario of the plain shape."""


@overload
def load_scenario(source: str | Path, shape: type[Shape]) -> Shape:
    """A scenario of the caller's shape."""


def load_scenario(source: str | Path, shape: type[Scenario] = Scenario) -> Scenario:
    """Read a scenario from a YAML file, or one of the shipped ones by its bare name; as a
    `shape` of the caller's, if it is to hold more.

    Raises `ScenarioError` with all the faults of the file, each as `file: place: reason`.
    """
    path = _SHIPPED / f"{source}.yaml" if source in shipped_scenarios() else Path(source)
    try:
        data: object = yaml.load(path.read_bytes(), Loader=_UniqueKeys)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError([f"{path}: {_reason(error)}"]) from error
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        raise ScenarioError(_faults(path, error)) from error


class _UniqueKeys(yaml.SafeLoader):
    """Safe loading in which a repeated key is a fault, since one of the two is lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        keys: set[str] = set()
        for key, _ in node.value:
            if key.value in keys:
                problem = f"the key {key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                keys.add(key.value)
        return super().construct_mapping(node, deep)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"no such file, and shipped scenarios are {', '.join(shipped_scenarios())}"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error)


def _faults(path: Path, error: ValidationError) -> list[str]:
    return [f"{path}: {_place(fault['loc'])}: {_message(fault['msg'])}" for fault in error.errors()]


def _message(message: str) -> str:
    return message.removeprefix("Value error, ")


def _place(location: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".") or "scenario"
