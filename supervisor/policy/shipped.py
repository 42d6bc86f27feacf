"""The policies that come with Lucid."""

from __future__ import annotations

from pathlib import Path

__all__ = ["shipped_policies", "shipped_policy", "shipped_tests", "tests_here"]

# `policies` is a data folder beside `supervisor`, in the wheel as in a checkout. It is not
# looked up as an import name: a program's own `policies` folder or package would shadow it.
_FOLDER = Path(__file__).parents[2] / "policies"


def shipped_policies() -> tuple[str, ...]:
    """Their names, sorted. `NAME.test.yaml` beside `NAME.yaml` is no policy."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml") if "." not in path.stem))


def shipped_policy(name: str) -> Path:
    """The file of one of `shipped_policies()`."""
    return _FOLDER / f"{name}.yaml"


def shipped_tests() -> list[Path]:
    """The files of their tests, sorted."""
    return sorted(_FOLDER.glob("*.test.yaml"))


def tests_here() -> list[Path]:
    """The test files in the working folder, sorted."""
    return sorted(Path().glob("*.test.yaml"))
