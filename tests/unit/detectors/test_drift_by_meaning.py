"""Drift by static embeddings, with a model of a few words that is made here."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from model2vec import StaticModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from detectors.drift import Drift, DriftConfig
from detectors.drift.embedded import Meaning, static_model
from supervisor.core.entry import Prompt, ToolCall
from supervisor.core.verdict import Verdict
from supervisor.errors import PolicyError
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Policy
from supervisor.policy.stored import restored_policy
from supervisor.runtime import registry
from supervisor.testing.fixtures import verdicts_of

SEA = ("harbour", "port", "quay", "ship", "anchor", "mooring")
OFFICE = ("invoice", "tax", "ledger", "payroll", "budget", "audit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in which words of one kind point one way."""
    words = {word: place for place, word in enumerate(("[UNK]", *SEA, *OFFICE))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    vectors = np.zeros((len(words), 4), dtype=np.float32)
    for word, place in words.items():
        vectors[place, :3] = (word in SEA, word in OFFICE, 0.01 * place)
    path = tmp_path_factory.mktemp("static model")
    StaticModel(vectors, tokenizer).save_pretrained(str(path))
    return path


def told(config: DriftConfig, calls: list[str]) -> list[Verdict]:
    prompt = Prompt(session_id="s", transcript="t", seq=1, turn=1, text="Paint the harbour")
    entries = [
        ToolCall(
            session_id="s",
            transcript="t",
            seq=seq,
            call_id=f"c{seq}",
            tool="Bash",
            input=msgspec.Raw(msgspec.json.encode({"command": word})),
        )
        for seq, word in enumerate(calls, 2)
    ]
    return verdicts_of(Drift(config), [prompt, *entries])


def test_other_words_of_the_same_sense_are_no_change(folder: Path) -> None:
    calls = [word for word in SEA[:2] for _ in range(8)] + [SEA[5]] * 60
    assert told(DriftConfig(embeddings=folder), calls) == []
    (by_words,) = told(DriftConfig(), calls)
    assert by_words.evidence.facts["pattern"] == "subject changed"


def test_a_change_of_sense_is_found_where_it_begins(folder: Path) -> None:
    calls = list(SEA) * 3 + list(OFFICE) * 5
    (found,) = told(DriftConfig(embeddings=folder), calls)
    assert found.confidence < 0.8
    assert found.onset_seq in range(2 + len(SEA) * 3 - 2, 2 + len(SEA) * 3 + 3)


def test_a_detour_that_returns_is_quiet(folder: Path) -> None:
    calls = list(SEA) * 4 + list(OFFICE[:2]) + list(SEA) * 6
    assert told(DriftConfig(embeddings=folder), calls) == []


def test_words_that_the_model_does_not_know_say_nothing(folder: Path) -> None:
    meaning = Meaning("", static_model(folder))
    assert [meaning.add(b"\xff\x00{}") for _ in range(20)] == [None] * 20


def policy(settings: str) -> Policy:
    return parse_policy(
        f"version: 1\ndetectors:\n  drift:\n    embeddings: {settings}\n"
        "rules: [{name: r, on: drift, ladder: [nudge]}]\n",
        "p.yaml",
        detectors=registry.detectors(),
        actions=registry.actions(),
    )


def test_a_policy_names_the_folder_and_keeps_it(folder: Path) -> None:
    loaded = policy(f"'{folder}'")
    kept = restored_policy(
        loaded.model_dump_json(),
        "row",
        detectors=registry.detectors(),
        actions=registry.actions(),
    )
    assert kept == loaded
    assert DriftConfig.model_validate(kept.detectors["drift"].model_dump()).embeddings == folder


def fault(settings: str) -> str:
    with pytest.raises(PolicyError) as raised:
        policy(settings)
    (problem,) = raised.value.problems
    return str(problem)


def test_a_folder_that_is_not_there_is_one_fault_and_is_not_downloaded(tmp_path: Path) -> None:
    said = fault("someone/some-model")
    assert said.startswith("p.yaml:4:17: detectors.drift.embeddings: ")
    assert "is no folder of a static model: no config.json in it" in said
    assert "no config.json" in fault(f"'{tmp_path}'")


def test_a_model_that_cannot_be_read_is_a_fault(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not a tensor")
    assert "cannot be read" in fault(f"'{tmp_path}'")


def test_without_the_extra_it_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setitem(sys.modules, "model2vec", None)
    assert "install lucid-supervisor[embeddings]" in fault(f"'{tmp_path}'")
