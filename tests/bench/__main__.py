"""Runs the benchmarks, prints their figures and writes them to `bench.json`."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import time
from pathlib import Path
from types import ModuleType

import tests.bench

ROOT = Path(__file__).resolve().parents[2]


def benchmarks() -> list[ModuleType]:
    """The modules of this package that measure something."""
    names = (info.name for info in pkgutil.iter_modules(tests.bench.__path__))
    modules = [importlib.import_module(f"tests.bench.{n}") for n in names if n != "__main__"]
    return [module for module in modules if hasattr(module, "measure")]


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def figures_of(module: ModuleType) -> dict[str, float]:
    """A benchmark's figures, each of which its docstring must explain."""
    figures: dict[str, float] = module.measure()
    unexplained = [name for name in figures if f"`{name}`" not in (module.__doc__ or "")]
    if unexplained:
        raise SystemExit(f"{module.__name__}: say in its docstring what {unexplained} are")
    return figures


def main(wanted: list[str]) -> None:
    """Run all benchmarks, or those that are named; only a whole run is written down."""
    chosen = [module for module in benchmarks() if not wanted or name_of(module) in wanted]
    unknown = set(wanted) - {name_of(module) for module in chosen}
    if unknown:
        raise SystemExit(f"no such benchmark: {', '.join(sorted(unknown))}")
    figures: dict[str, float] = {}
    for module in chosen:
        began = time.perf_counter()
        measured = figures_of(module)
        print(f"{name_of(module)} ({time.perf_counter() - began:.1f} s)")
        for name, figure in measured.items():
            print(f"  {name:<28}{figure:>12,.3f}", flush=True)
        figures |= measured
    if not wanted:
        text = json.dumps({name: round(figure, 4) for name, figure in figures.items()}, indent=2)
        (ROOT / "bench.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
