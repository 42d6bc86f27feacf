"""What a reviewer would otherwise have to ask for, again and again."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import claude_agent_sdk
import pytest
from claude_agent_sdk import ClaudeSDKClient

import detectors
import recovery
import supervisor
from supervisor.core.verdict import RUNTIME_MODES
from supervisor.policy.load import load_policy
from supervisor.policy.shipped import shipped_policies
from supervisor.runtime import registry

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (supervisor, detectors, recovery)


def _modules() -> Iterator[str]:
    for package in PACKAGES:
        yield package.__name__
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield info.name


MODULES = sorted(_modules())
LIBRARY = [name for name in MODULES if not name.endswith("__main__")]


@cache
def _tree(name: str) -> ast.Module:
    path = importlib.util.find_spec(name).origin  # type: ignore[union-attr] # it was just found
    return ast.parse(Path(str(path)).read_text(encoding="utf-8"))


def _is_public(name: str) -> bool:
    return not name.startswith("_")


# Names


def _defined(tree: ast.Module) -> set[str]:
    """The public classes and functions of a module, a group's subcommands left out: they
    are reached through the group."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in tree.body if isinstance(node, kinds) and _is_public(node.name)]
    names = {node.name for node in found}
    return {node.name for node in found if not _is_subcommand(node.decorator_list, names)}


def _is_subcommand(decorators: list[ast.expr], names: set[str]) -> bool:
    return any(ast.unparse(one).split(".command(")[0] in names for one in decorators)


def _order(name: str) -> tuple[int, str]:
    """Constants, classes, functions, each in alphabetical order: ruff's own."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", LIBRARY)
def test_all_is_complete_and_sorted(name: str) -> None:
    module = importlib.import_module(name)
    defined = _defined(_tree(name))
    if not defined and not hasattr(module, "__all__"):
        return
    exported = list(getattr(module, "__all__", []))

    assert defined <= set(exported), f"{name}.__all__ leaves out {defined - set(exported)}"
    assert [wanted for wanted in exported if not hasattr(module, wanted)] == []
    assert exported == sorted(set(exported), key=_order)


# Words


def _documentable(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """The public classes and functions of a module, and those classes' public methods.

    A method that a base of ours declares has its contract there.
    """
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in tree.body:
        if not isinstance(node, kinds) or not _is_public(node.name):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, kinds) and _is_public(inner.name):
                    yield f"{node.name}.{inner.name}", inner


def _is_documented(module: ModuleType, path: str, node: ast.AST) -> bool:
    if ast.get_docstring(node):  # type: ignore[arg-type] # a class or a function
        return True
    owner, _, method = path.rpartition(".")
    if not owner:
        return False
    bases = getattr(module, owner).__mro__[1:]
    return any(inspect.getdoc(getattr(base, method, None)) for base in bases if base is not object)


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_is_documented(name: str) -> None:
    tree = _tree(name)
    assert ast.get_docstring(tree), f"{name} has no docstring"
    if name.endswith("__main__"):
        return
    module = importlib.import_module(name)
    bare = [path for path, node in _documentable(tree) if not _is_documented(module, path, node)]

    assert bare == []


_EXCUSE = re.compile(r"#\s*(?P<what>noqa|type:\s*ignore|pragma)\b(?P<rest>.*)")
_EXPLAINED = re.compile(
    r":\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*\s+-\s+\S"  # a lint rule's code and a reason
    r"|\[[a-z-]+(?:,\s*[a-z-]+)*\]\s+#\s+\S"  # a type error's code and a reason
)


def _tracked(*patterns: str) -> list[Path]:
    """The project's own files, those that are still to be added included."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the project's files cannot be told from others")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]


def test_every_excuse_names_what_it_excuses_and_why() -> None:
    unexplained = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _tracked("*.py")
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (excuse := _EXCUSE.search(line)) and not _EXPLAINED.match(excuse["rest"])
    ]
    assert unexplained == []


@pytest.mark.parametrize(
    ("line", "explained"),
    [
        ("x = 1  # noqa: BLE001 - a plugin may raise anything", True),
        ("x = 1  # noqa: BLE001, S110 - both", True),
        ("x = 1  # noqa", False),
        ("x = 1  # noqa: BLE001", False),
        ("x = 1  # type: ignore[union-attr] # asked just above", True),
        ("x = 1  # type: ignore[union-attr]", False),
        ("x = 1  # type: ignore", False),
    ],
)
def test_an_excuse_is_told_from_an_explained_one(line: str, explained: bool) -> None:
    excuse = _EXCUSE.search(line)
    assert excuse is not None
    assert bool(_EXPLAINED.match(excuse["rest"])) is explained


_MACHINE_PATHS = re.compile(r"(?<![\w.~>})-])/(?:work/(?!demo\b)|root/)")
"""Of the machine that somebody happened to write on. `demo` stands in fixtures for the
folders that were there."""


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = []
    for path in _tracked():
        text = path.read_bytes().decode(errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if path != Path(__file__) and _MACHINE_PATHS.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    assert found == []


def test_the_lock_file_names_no_registry() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")

    assert "://" not in text
    assert not re.search(r"^\s*(?:-i|-f|--(?:extra-)?index-url|--find-links)\b", text, re.MULTILINE)
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=\S)", text.strip()))


# Weight


HEAVY = frozenset({"anthropic", "numpy", "scipy", "sklearn"})


def _imported(tree: ast.Module) -> set[str]:
    """The top-level packages that a module imports as it is imported."""
    names: set[str] = set()
    for node in _at_import(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _at_import(child)


@pytest.mark.parametrize("name", MODULES)
def test_no_module_imports_a_heavy_package_at_once(name: str) -> None:
    assert _imported(_tree(name)) & HEAVY == set()


def _loaded_by(statement: str) -> set[str]:
    """The top-level packages in memory after a statement in a new process."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_importing_lucid_is_light() -> None:
    unwanted = HEAVY | {"aiohttp", "claude_agent_sdk", "msgspec", "pydantic", "yaml"}
    assert _loaded_by("import supervisor") & unwanted == set()


def test_supervising_loads_nothing_heavy() -> None:
    loaded = _loaded_by("from supervisor import SupervisedClient")
    assert "claude_agent_sdk" in loaded
    assert loaded & HEAVY == set()


# What is shipped


def test_the_wheel_brings_everything_along(tmp_path: Path) -> None:
    """The data folders, the SQL, the scenarios, the marker of types; no tests."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())

    data = {
        str(path.relative_to(ROOT))
        for path in _tracked("supervisor", "detectors", "recovery", "policies", "dashboards")
    }
    assert data <= shipped
    assert {"policies/default.yaml", "supervisor/py.typed"} <= data
    tops = {name.partition("/")[0] for name in shipped if ".dist-info/" not in name}
    assert tops <= {"supervisor", "detectors", "recovery", "policies", "dashboards"}


def test_the_build_lists_every_folder_that_is_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert sorted(packages) == ["dashboards", "detectors", "policies", "recovery", "supervisor"]


@pytest.mark.parametrize("name", shipped_policies())
def test_a_shipped_policy_loads_with_what_is_installed(name: str) -> None:
    policy = load_policy(name, detectors=registry.detectors(), actions=registry.actions())

    rungs = [rung for rule in policy.rules for rung in rule.ladder]
    assert {rung.action for rung in rungs} <= set(registry.actions())
    assert set(policy.detectors) == set(registry.detectors())
    found = {kind.failure_mode for kind in registry.detectors().values()}
    assert {mode for rule in policy.rules for mode in rule.on} <= found | RUNTIME_MODES


# The SDK's drop-ins


def _methods(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(method)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if _is_public(name) or name in {"__aenter__", "__aexit__"}
    }


def _parameters(signature: inspect.Signature) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


@pytest.mark.parametrize("name", _methods(ClaudeSDKClient))
def test_the_client_has_every_method_of_the_sdks(name: str) -> None:
    theirs, ours = _methods(ClaudeSDKClient)[name], _methods(supervisor.SupervisedClient).get(name)

    assert ours is not None, f"ClaudeSDKClient.{name} is missing"
    assert _parameters(ours) == _parameters(theirs)
    for kind in (inspect.iscoroutinefunction, inspect.isasyncgenfunction):
        mine = getattr(supervisor.SupervisedClient, name)
        assert kind(mine) == kind(getattr(ClaudeSDKClient, name))


def _begins_like(ours: Any, theirs: Any) -> None:
    """Ours takes what theirs takes; what it takes besides may be left out."""
    mine, wanted = _parameters(inspect.signature(ours)), _parameters(inspect.signature(theirs))
    assert mine[: len(wanted)] == wanted
    assert all(
        kind is inspect.Parameter.KEYWORD_ONLY and default is None
        for _, kind, default in mine[len(wanted) :]
    )


def test_the_client_is_made_like_the_sdks() -> None:
    _begins_like(supervisor.SupervisedClient, ClaudeSDKClient)


def test_the_query_is_called_like_the_sdks() -> None:
    _begins_like(supervisor.supervised_query, claude_agent_sdk.query)
    assert inspect.isasyncgenfunction(supervisor.supervised_query)
