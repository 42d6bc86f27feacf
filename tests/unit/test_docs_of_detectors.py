"""`docs/detectors.md` says what the detectors say of themselves, and it is true."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from supervisor.core.detector import Detector
from supervisor.docs import detectors_page, field_docs, shipped_detectors
from supervisor.policy.load import parse_policy
from supervisor.runtime.registry import actions, detectors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "detectors.md").read_text(encoding="utf-8")
KINDS = shipped_detectors()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
RULES = "rules: [{name: r, on: loop, ladder: [nudge]}]"


def test_the_page_is_up_to_date() -> None:
    assert detectors_page(KINDS) == PAGE, "run: make docs"


def test_another_process_writes_the_same() -> None:
    written = subprocess.run(
        [sys.executable, "-m", "supervisor.docs"], check=True, capture_output=True, text=True
    )
    assert written.stdout == PAGE


@pytest.mark.parametrize("name", KINDS)
def test_every_detector_says_what_it_misses_and_how_it_was_measured(name: str) -> None:
    """The page is theirs to write."""
    (section,) = re.findall(rf"^## {name}$(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
    said = " ".join(section.split())

    assert re.search(r"\b[Ii]t (?:finds|fires|is a loop|is judged)\b|Three findings", said)
    assert re.search(r"\b[Ii]t does not (?:catch|see)\b", said)
    assert re.search(
        r"on the development half of the corpora|counts, and does not guess"
        r"|Precision and recall are",
        said,
        re.IGNORECASE,
    )


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_key_is_explained_with_its_default(kind: type[Detector]) -> None:
    for name, field in kind.Config.model_fields.items():
        assert f"| `{name}` | " in PAGE
        assert field_docs(kind.Config)[name] in PAGE.replace("\\|", "|")
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert f"| `{name}` | `{field.default}` |" in PAGE


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads(example: str) -> None:
    policy = f"version: 1\n{textwrap.dedent(example)}{RULES}"
    assert parse_policy(policy, "example", detectors=detectors(), actions=actions())


def test_every_link_leads_somewhere() -> None:
    for file, place in re.findall(r"\]\(([\w./]*)#?([\w-]*)\)", PAGE):
        text = (ROOT / "docs" / file).read_text(encoding="utf-8") if file else PAGE
        anchors = {
            re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        assert not place or place in anchors, f"{file}#{place}"
