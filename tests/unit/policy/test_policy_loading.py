"""Policies are read from files, and every fault in one is told at once, with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.action import Action
from supervisor.core.detector import Detector
from supervisor.core.verdict import FailureMode, Severity
from supervisor.errors import PolicyError, Problem
from supervisor.policy.document import MAX_BYTES
from supervisor.policy.load import load_policy, parse_policy
from supervisor.policy.model import (
    Cooldown,
    FilesMode,
    Mode,
    Policy,
    Rung,
    StoreAbsence,
    WhenAway,
    duration_text,
    parse_duration,
)
from supervisor.policy.shipped import shipped_policies, shipped_policy
from supervisor.runtime import registry

FIXTURES = Path(__file__).parents[2] / "fixtures" / "policies"
BROKEN = sorted(path.stem for path in (FIXTURES / "bad").glob("*.yaml"))
Parse = Callable[[str], Policy]
Load = Callable[[Path | str], Policy]


@pytest.fixture
def load(
    detectors: Mapping[str, type[Detector]], actions: Mapping[str, type[Action]]
) -> Callable[[Path | str], Policy]:
    return lambda source: load_policy(source, detectors=detectors, actions=actions)


@pytest.fixture
def load_shipped() -> Callable[[Path | str], Policy]:
    """With what is installed, which the shipped policies are for."""
    return lambda source: load_policy(
        source, detectors=registry.detectors(), actions=registry.actions()
    )


def problem_lines(load: Load, source: Path | str) -> list[str]:
    with pytest.raises(PolicyError) as raised:
        load(source)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_policy_has_exactly_its_problems(
    name: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FIXTURES / "bad")

    problems = problem_lines(load, Path(f"{name}.yaml"))

    assert problems == Path(f"{name}.txt").read_text(encoding="utf-8").splitlines()


def test_every_expectation_belongs_to_a_broken_policy() -> None:
    assert sorted(path.stem for path in (FIXTURES / "bad").glob("*.txt")) == BROKEN


def test_the_error_reads_as_its_problems(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIXTURES / "bad")

    with pytest.raises(PolicyError) as raised:
        load(Path("unknown-keys.yaml"))

    assert str(raised.value) + "\n" == Path("unknown-keys.txt").read_text(encoding="utf-8")


def test_a_policy_with_every_key(load: Load) -> None:
    policy = load(FIXTURES / "good" / "everything.yaml")

    assert policy.mode is Mode.OBSERVE
    assert policy.store == StoreAbsence(when_away=WhenAway.GO_ON, pause_at_most=timedelta(hours=2))
    assert policy.files is FilesMode.OFF
    limit = policy.limits.interventions
    assert limit is not None
    assert (limit.max, limit.per) == (3, timedelta(seconds=90))
    assert limit.then is not None
    assert limit.then.params.model_dump(exclude={"attempts"}) == {"message": "Stop and ask."}
    first, second = policy.rules
    assert (first.on, first.detector) == ((FailureMode.LOOP,), "loop")
    assert (first.min_confidence, first.min_severity) == (1.0, Severity.CRITICAL)
    assert first.cooldown == Cooldown(time=timedelta(milliseconds=500))
    assert [rung.action for rung in first.ladder] == ["nudge", "rollback", "correct", "abort"]
    assert first.ladder[1].params.model_dump(exclude={"attempts", "files"}) == {
        "to": "onset",
        "message": "on",
    }
    assert second.on == (FailureMode.LOOP, FailureMode.HALLUCINATED_TOOL)
    assert second.cooldown == Cooldown(entries=1)


def test_every_known_detector_is_configured_by_the_file_or_by_its_defaults(
    load: Load, detectors: Mapping[str, type[Detector]]
) -> None:
    policy = load(FIXTURES / "good" / "everything.yaml")

    assert list(policy.detectors) == list(detectors)
    assert policy.detectors["loop"].model_dump() == {
        "enabled": True,
        "repeats": 4,
        "window": 12,
        "tools": ("Bash", "Read"),
        "strictness": "high",
    }
    assert not policy.detectors["text_loop"].enabled
    assert policy.detectors["hallucinated_tool"] == detectors["hallucinated_tool"].Config()


def test_what_a_minimal_policy_leaves_out_is_mild(load: Load) -> None:
    policy = load(FIXTURES / "good" / "minimal.yaml")

    [rule] = policy.rules
    assert policy.mode is Mode.ACT
    assert policy.limits.interventions is None
    assert (rule.detector, rule.cooldown) == (None, None)
    assert (rule.min_confidence, rule.min_severity) == (0.0, Severity.INFO)
    assert all(config.enabled for config in policy.detectors.values())


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        ("", False),
        ("ladder: [nudge, rollback: {files: restore}]", True),
        ("limits: {interventions: {max: 1, per: 1h, then: {rollback: {files: restore}}}}", True),
        ("mode: observe\nladder: [rollback: {files: restore}]", False),
        ("mode: observe\nfiles: checkpoints", True),
        ("files: off", False),
    ],
)
def test_files_are_checkpointed_where_a_rung_restores_them_or_it_is_asked_for(
    parse: Parse, settings: str, taken: bool
) -> None:
    lines = settings.splitlines()
    ladder = next((line for line in lines if line.startswith("ladder")), "ladder: [nudge]")
    rule = f"rules:\n  - name: any\n    on: loop\n    {ladder}\n"
    others = [line for line in lines if not line.startswith("ladder")]
    policy = parse("\n".join(["version: 1", *others, rule]))

    assert policy.checkpoints_files is taken


def test_a_byte_order_mark_and_foreign_line_ends_do_no_harm(load: Load) -> None:
    policy = load(FIXTURES / "good" / "with-byte-order-mark.yaml")

    assert policy.rules[0].name == "café"


def test_a_policy_can_be_built_without_yaml(load: Load) -> None:
    policy = load(FIXTURES / "good" / "minimal.yaml")

    rebuilt = Policy(
        version=1,
        detectors=policy.detectors,
        rules=(policy.rules[0].model_copy(update={"ladder": (Rung(action="abort"),)}),),
    )

    assert rebuilt.rules[0].ladder[0].action == "abort"


def test_a_missing_file_is_one_problem(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"

    problems = problem_lines(load, path)

    assert problems == [f"{path}:1:1: document: cannot be read: No such file or directory"]


def test_a_folder_is_one_problem(load: Load, tmp_path: Path) -> None:
    assert problem_lines(load, tmp_path) == [
        f"{tmp_path}:1:1: document: cannot be read: Is a directory"
    ]


def test_a_huge_file_is_refused_unparsed(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))

    assert problem_lines(load, path) == [
        f"{path}:1:1: document: is larger than 1 MiB; a policy is a few KB"
    ]


def test_a_huge_file_that_is_cut_within_a_character_is_still_huge(
    load: Load, tmp_path: Path
) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * MAX_BYTES + "é".encode())

    assert problem_lines(load, path) == [
        f"{path}:1:1: document: is larger than 1 MiB; a policy is a few KB"
    ]


def test_shipped_policies_are_found_by_name(load_shipped: Load) -> None:
    assert {"default", "observe"} <= set(shipped_policies())
    for name in shipped_policies():
        assert load_shipped(name).rules


def test_a_path_may_be_given_as_text(load: Load) -> None:
    path = FIXTURES / "good" / "minimal.yaml"

    assert load(str(path)) == load(path)


def test_an_unknown_shipped_policy_is_told_with_the_nearest(load: Load) -> None:
    assert problem_lines(load, "defualt") == [
        "defualt:1:1: document: unknown shipped policy 'defualt'; did you mean 'default'?"
    ]


def test_a_folder_of_the_programs_own_called_policies_shadows_nothing(
    load_shipped: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "default.yaml").write_text("not a policy", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    assert load_shipped("default").rules


def test_observe_is_default_with_its_hands_tied(load_shipped: Load) -> None:
    default, observe = load_shipped("default"), load_shipped("observe")

    assert observe.mode is Mode.OBSERVE
    assert observe.model_copy(update={"mode": Mode.ACT}) == default


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("1ms", timedelta(milliseconds=1)),
    ],
)
def test_durations_are_read_and_written(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration
    assert duration_text(duration) == text


@pytest.mark.parametrize(
    "value", ["", "30", 30, "0m", "-5s", "1h30m", "5 s", "1w", "9999999999h", True]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^must be "):
        parse_duration(value)


LINES = [
    "version: 1\n",
    "rules:\n",
    "  - name: a\n",
    "    on: loop\n",
    "    ladder:\n",
    "      - nudge\n",
]
WORDS = [
    "*a",
    "&a",
    "!!str",
    "? ",
    ": ",
    "- ",
    "null",
    "1e99",
    "99999999999999999999",
    "---\n",
    "<<: ",
]
MARKS = list("[]{}'\"#~%|>\t\n\ud800\x85\ufeff")
FRAGMENTS = st.sampled_from([*LINES, *WORDS, *MARKS])


def problems_of(parse: Parse, text: str) -> tuple[Problem, ...]:
    try:
        parse(text)
    except PolicyError as error:
        return error.problems
    return ()


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(st.text(max_size=60), st.lists(FRAGMENTS, max_size=14).map("".join)))
def test_any_text_is_a_policy_or_a_list_of_problems(parse: Parse, text: str) -> None:
    for problem in problems_of(parse, text):
        assert problem.line >= 1
        assert problem.column >= 1
        assert "\n" not in str(problem)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_slip_of_the_keyboard_in_the_default_policy_is_survived(
    parse: Parse, data: st.DataObject
) -> None:
    text = shipped_policy("default").read_text(encoding="utf-8")
    place = data.draw(st.integers(0, len(text) - 1))
    slip = data.draw(st.sampled_from(["", " ", "\n", ":", "-", "x", "[", "}", "'", "*"]))

    problems = problems_of(parse, text[:place] + slip + text[place + 1 :])

    places = [(problem.line, problem.column) for problem in problems]
    assert places == sorted(places)


def test_problems_are_named_after_the_file_that_parse_is_told(
    detectors: Mapping[str, type[Detector]], actions: Mapping[str, type[Action]]
) -> None:
    with pytest.raises(PolicyError, match=r"^inline:1:1: document: is empty"):
        parse_policy("", "inline", detectors=detectors, actions=actions)
