"""The gauntlet's scenarios: sound, varied, and honest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from supervisor.core.feedback import _NAMES, _WAY_OUT
from supervisor.core.verdict import FailureMode
from supervisor.gauntlet.trial import EFFECTS, Kind, Trial, find_trials, repeated_effects
from supervisor.policy.load import load_policy, parse_policy
from supervisor.runtime import registry
from supervisor.testing import ScenarioError
from supervisor.testing.conditions import When

TRIALS = find_trials()
NEUTRAL = "Thank you. Please do what was asked in the first place."
LUCIDS_WORDS = [
    *_NAMES.values(),
    *_WAY_OUT.values(),
    "<lucid> Your supervisor interrupted you. Evidence: </lucid>",
    "Your supervisor took you back to this point of the conversation, because what followed led "
    "nowhere. Tried since then, without success: Go on with the task from here, another way.",
    "Your supervisor denied this call, and will deny the same one again for now. Nothing was run.",
    "You made these calls since, and what they did is not undone. Check it before you rely on it",
]


def patterns(when: When) -> Iterator[re.Pattern[str]]:
    """Every pattern of a condition that looks at texts."""
    yield from (*when.says, *when.told, *when.last, *when.lacks)
    yield from (result.text for result in when.results if result.text is not None)
    for inner in (*when.any_of, *([when.none_of] if when.none_of else [])):
        yield from patterns(inner)


def test_there_are_many_of_every_kind_and_mode() -> None:
    kinds = Counter(trial.kind for trial in TRIALS.values())
    modes = {trial.mode for trial in TRIALS.values() if trial.kind is Kind.RECOVERABLE}

    assert kinds.total() >= 40
    assert kinds[Kind.HEALTHY] >= 10
    assert kinds[Kind.UNRECOVERABLE] >= 3
    assert modes == set(FailureMode) - {FailureMode.STOP}
    assert len({trial.title for trial in TRIALS.values()}) == len(TRIALS)


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_the_policy_is_one_that_a_user_could_have(trial: Trial) -> None:
    plugins = {"detectors": registry.detectors(), "actions": registry.actions()}

    if isinstance(trial.policy, str):
        load_policy(trial.policy, **plugins)
    else:
        parse_policy(yaml.safe_dump(trial.policy), "trial.yaml", **plugins)


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_the_model_is_not_told_what_lucid_says(trial: Trial) -> None:
    """It may react to any word at all, or to what its own story is about, but not to phrases
    of Lucid's that would be in whatever Lucid says."""
    for reply in trial.replies:
        for pattern in patterns(reply.when):
            if pattern.search(NEUTRAL):
                continue
            heard = [words for words in LUCIDS_WORDS if pattern.search(words)]
            assert not heard, f"{reply.name}: {pattern.pattern!r} is found in {heard[0]!r}"


def trial(**changes: object) -> Trial:
    given = {
        "title": "One",
        "kind": "healthy",
        "mode": "loop",
        "about": "Ends.",
        "objective": "End.",
        "done": {"file": "out.txt", "text": "yes"},
        "files": {"keep.txt": "as it was"},
        "replies": [{"name": "ends", "text": "Done."}],
    }
    return Trial.model_validate(given | changes)


def test_a_task_is_done_when_all_that_shows_it_is_there(tmp_path: Path) -> None:
    done = {
        "file": "out.txt",
        "text": "yes",
        "answer": "It is",
        "untouched": ["keep.txt"],
        "absent": ["no.txt"],
    }
    one = trial(done=done)
    one.prepare(tmp_path)
    assert not one.is_done(tmp_path, "It is done.")

    (tmp_path / "out.txt").write_text("yes")
    assert one.is_done(tmp_path, "It is done.")
    assert not one.is_done(tmp_path, "No.")

    (tmp_path / "no.txt").touch()
    assert not one.is_done(tmp_path, "It is done.")
    (tmp_path / "no.txt").unlink()

    (tmp_path / "keep.txt").write_text("changed")
    assert not one.is_done(tmp_path, "It is done.")


def test_side_effects_count_as_repeated_from_the_second_on(tmp_path: Path) -> None:
    assert repeated_effects(tmp_path) == 0

    (tmp_path / EFFECTS).write_text("charged 1\ncharged 2\ncharged 1\ncharged 1\n")

    assert repeated_effects(tmp_path) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"done": {}}, "give a file, an answer, or both"),
        ({"done": {"answer": "x", "text": "y"}}, "text is looked for in a file"),
        ({"done": {"answer": "x", "untouched": ["a"]}}, "not among the files: a"),
        ({"kind": "odd"}, "recoverable"),
        ({"objective": None}, "string"),
    ],
)
def test_a_faulty_trial_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        trial(**changes)


def test_trials_are_found_by_pattern_and_a_pattern_in_vain_is_said() -> None:
    assert set(find_trials(["healthy-po*", "loop-one-look"])) == {
        "healthy-polling",
        "loop-one-look",
    }
    with pytest.raises(ScenarioError, match=r"no scenario is called 'none-\*'"):
        find_trials(["loop-*", "none-*"])
