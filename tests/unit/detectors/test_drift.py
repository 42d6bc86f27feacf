"""`detectors.drift`: what its fixtures cannot show."""

from __future__ import annotations

import msgspec
import pytest

from detectors.drift import Drift, DriftConfig
from detectors.drift.activity import Activity, PageHinkley
from detectors.drift.constraints import constraints_in
from supervisor.core.entry import Entry, Prompt, Text, ToolCall
from supervisor.core.verdict import Verdict
from supervisor.testing.fixtures import deep_size, verdicts_of, workload

PLACE = {"session_id": "s", "transcript": "t"}
PLAN = "1. Search for the page.\n2. Read it.\n3. Answer."


def call(seq: int, tool: str, **given: object) -> ToolCall:
    raw = msgspec.Raw(msgspec.json.encode(given))
    return ToolCall(**PLACE, seq=seq, call_id=f"c{seq}", tool=tool, input=raw)


def told(prompt: str, *calls: ToolCall, config: DriftConfig | None = None) -> list[Verdict]:
    return verdicts_of(Drift(config), [Prompt(**PLACE, seq=1, turn=1, text=prompt), *calls])


def edit(path: str, seq: int = 2, tool: str = "Edit") -> ToolCall:
    return call(seq, tool, file_path=path)


def run(command: str, seq: int = 2) -> ToolCall:
    return call(seq, "Bash", command=command)


@pytest.mark.parametrize(
    ("prompt", "breach", "harmless"),
    [
        ("Do not touch db/schema.sql.", edit("/r/db/schema.sql"), edit("/r/db/schema.py")),
        ("Never edit files in `vendor/`", edit("/r/vendor/a/b.js"), edit("/r/src/vendor.js")),
        ("Don't modify *.lock, please", edit("/r/uv.lock"), edit("/r/lock.py")),
        ("Please don't change the vendor folder", edit("/r/vendor/a.js"), run("ls vendor")),
        ("Avoid touching a.py and b.py", run("sed -i s/x/y/ b.py"), run("cat b.py > /tmp/b")),
        ("Do not delete notes.md", run("rm -f notes.md"), edit("/r/notes.md")),
        ("Only edit src/api/.", edit("/r/src/web.py"), edit("/r/src/api/log.py")),
        ("Do not change anything outside of src/", edit("/r/docs/a.md"), edit("/r/src/a.py")),
        ("Do not make any changes", edit("/r/a.py"), run("git diff")),
        ("Fix it, but don't commit", run("git -C /r commit -am x"), run("git log --grep commit")),
        ("Do not install anything", run("pip install attrs"), run("make install")),
        ("Don't run `make deploy`", run("cd /r && make  deploy"), run("make deploy-docs")),
        ("Never use the `WebSearch` tool", call(2, "WebSearch"), call(2, "WebFetch")),
    ],
)
def test_a_ban_is_broken_by_what_it_names(
    prompt: str, breach: ToolCall, harmless: ToolCall
) -> None:
    assert [verdict.confidence >= 0.8 for verdict in told(prompt, breach)] == [True]
    assert told(prompt, harmless) == []


@pytest.mark.parametrize(
    "prompt",
    [
        "Why don't we commit the schema?",
        "Do not change the signature of `load` in a.py",
        "Only change the function `load` in `a.py`",
        "Don't push to main",
        "Do not commit the .env file",
        "Don't touch a.py unless you have to",
        "```\nDo not edit a.py\n```",
        "The docs say: users should not modify a.py",
        "Do not over-engineer it. Never mind the style.",
        "",
    ],
)
def test_what_is_no_plain_ban_binds_nobody(prompt: str) -> None:
    calls = edit("/r/a.py"), run("git add .; git commit -m x; git push origin topic", 3)
    assert told(prompt, *calls) == []


def test_a_ban_is_less_sure_after_another_prompt_and_gone_when_spoken_of_again() -> None:
    entries: list[Entry] = [
        Prompt(**PLACE, seq=1, turn=1, text="Don't commit."),
        Prompt(**PLACE, seq=2, turn=2, text="Now fix the docs."),
        run("git commit -am docs", 3),
        Prompt(**PLACE, seq=4, turn=3, text="Well, commit it then."),
        run("git commit -am docs", 5),
    ]
    assert [(v.seq, v.confidence) for v in verdicts_of(Drift(), entries)] == [(3, 0.7)]


def test_bans_and_plans_can_be_switched_off() -> None:
    off = DriftConfig(constraints=False, plans=False)
    plan = Text(**PLACE, seq=2, text=PLAN)
    answer = call(3, "final_answer", answer="42")
    entries = [Prompt(**PLACE, seq=1, text="Don't edit a.py"), plan, answer, edit("/r/a.py", 4)]
    assert [v.key[:4] for v in verdicts_of(Drift(), entries)] == ["plan", "cons"]
    assert verdicts_of(Drift(off), entries) == []


@pytest.mark.parametrize(
    "text",
    [
        "1. Add the numbers.\n2. Multiply them.\n3. Answer.",
        "1. Search for the page.\n2. Answer.",
        "Search for the page, read it, answer.",
    ],
)
def test_only_a_numbered_plan_that_inquires_is_one(text: str) -> None:
    entries = [Text(**PLACE, seq=1, text=text), call(2, "final_answer", answer="42")]
    assert verdicts_of(Drift(), entries) == []


def test_a_call_that_inquires_and_answers_at_once_is_quiet() -> None:
    plan = PLAN.replace("Search for", "Use search_agent to find")
    code = "final_answer(search_agent('the page'))"
    entries = [Text(**PLACE, seq=1, text=plan), call(2, "python_interpreter", code=code)]
    assert verdicts_of(Drift(), entries) == []


def test_work_begun_without_a_plan_is_not_held_to_a_later_one() -> None:
    entries = [run("ls", 1), Text(**PLACE, seq=2, text=PLAN), call(3, "submit")]
    assert verdicts_of(Drift(), entries) == []


def test_the_distance_follows_the_words() -> None:
    activity = Activity("fix the grammar of the parser")
    near = [activity.add(b'{"path": "parser/grammar.py"}') for _ in range(12)]
    far = [activity.add(b'{"path": "site/banner/colours.css"}') for _ in range(60)]
    assert near[:10] == [None] * 10
    assert near[11] is not None
    assert far[-1] is not None
    assert near[11] < 0.2
    assert far[-1] > 0.9


def test_calls_without_words_tell_nothing() -> None:
    activity = Activity("")
    assert [activity.add('{"q": "道具 42"}'.encode()) for _ in range(30)] == [None] * 30


def test_page_hinkley_is_quiet_on_a_level_and_on_a_short_rise() -> None:
    test = PageHinkley(threshold=3.0)
    values = [0.5] * 200 + [0.9] * 4 + [0.5] * 200
    assert not any(test.add(value) for value in values)


@pytest.mark.parametrize(
    "prompt",
    [
        "do not edit " + "a/" * 4_000,
        "do not " * 2_000,
        "only edit " + "x" * 8_000,
        "don't touch " + "\x00\x1b[31m" * 1_000,
        "never edit `" + "`" * 4_000,
        "\n" * 100_000 + "do not edit a.py",
        "не трогай a.py",
    ],
)
def test_any_prompt_can_be_read(prompt: str) -> None:
    assert all(len(c.words) <= 160 and len(c.names) <= 8 for c in constraints_in(prompt))


@pytest.mark.parametrize("given", [b"{", b"[]", b'{"command": 7}', b"{}" + b" " * 100_000])
def test_malformed_arguments_are_no_breach(given: bytes) -> None:
    odd = ToolCall(**PLACE, seq=2, call_id="c", tool="Bash", input=msgspec.Raw(given))
    assert told("Don't commit. Do not edit a.py.", odd) == []


def test_a_long_session_takes_less_than_20_kib() -> None:
    detector = Drift()
    for entry in workload(20_000):
        tuple(detector.observe(entry))
    assert deep_size(detector) < 20 * 1024
