"""What the parts of a policy share: their base, and the plugins that they may name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from supervisor.core.action import Action
from supervisor.core.detector import Detector
from supervisor.core.verdict import RUNTIME_MODES, FailureMode
from supervisor.policy.document import Loc
from supervisor.policy.faults import faults_in, refused

__all__ = ["Part", "Plugins", "plugin_settings", "plugins_of"]

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True)
class Plugins:
    """The detectors and actions a policy may name."""

    detectors: Mapping[str, type[Detector]] = field(default_factory=dict)
    actions: Mapping[str, type[Action]] = field(default_factory=dict)

    def detectable(self) -> frozenset[FailureMode]:
        """The failure modes that some detector finds, and those that the runtime sees."""
        found = (detector.failure_modes() for detector in self.detectors.values())
        return RUNTIME_MODES.union(*found)


def plugins_of(info: ValidationInfo) -> Plugins | None:
    """The plugins to validate against; None where the parts are given as values."""
    return info.context if isinstance(info.context, Plugins) else None


class Part(BaseModel):
    """A part of a policy: frozen, and an unknown key is a fault that names the nearest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise refused(*faults_in(error, cls)) from None


def plugin_settings(under: Loc, model: type[ModelT], value: object) -> ModelT:
    """`value` as a plugin's settings. Strict: text is no number, and `"no"` is not false."""
    try:
        return model.model_validate_json(json.dumps({} if value is None else value), strict=True)
    except ValidationError as error:
        raise refused(*faults_in(error, model, under)) from None
