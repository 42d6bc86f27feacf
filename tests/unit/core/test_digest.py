"""What is kept of a session's entries for the texts that actions put to an agent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from supervisor.core.digest import Digest, DigestWriter, fingerprint, told
from supervisor.core.entry import Origin, Prompt, ToolCall, ToolResult


class Session:
    """Entries of one session, digested."""

    def __init__(self) -> None:
        self.writer = DigestWriter(lambda tool: tool not in {"Read", "TodoWrite", "TaskCreate"})
        self.seq = 0

    @property
    def digest(self) -> Digest:
        return self.writer.digest

    def place(self, agent: str | None = None) -> dict[str, Any]:
        self.seq += 1
        return {"session_id": "s", "transcript": "t", "seq": self.seq, "agent_id": agent}

    def prompt(self, text: str, origin: Origin = Origin.USER, agent: str | None = None) -> None:
        self.writer.observe(Prompt(**self.place(agent), text=text, origin=origin))

    def call(self, tool: str, agent: str | None = None, call_id: str = "", **given: Any) -> str:
        call_id = call_id or f"c{self.seq}"
        raw = msgspec.Raw(json.dumps(given).encode())
        self.writer.observe(ToolCall(**self.place(agent), call_id=call_id, tool=tool, input=raw))
        return call_id

    def step(self, tool: str, result: str = "ok", *, error: bool = False, **given: Any) -> None:
        call_id = self.call(tool, **given)
        self.writer.observe(
            ToolResult(**self.place(), call_id=call_id, text=result, is_error=error)
        )

    def done(self) -> list[str]:
        return [step.given for step in self.digest.done]


@pytest.fixture
def session() -> Session:
    return Session()


def test_the_objective_is_the_users_first_prompt(session: Session) -> None:
    session.prompt("<lucid>", Origin.LUCID)
    session.prompt("a subagent's", Origin.USER, agent="a1")
    session.prompt("Find it.")
    session.prompt("Quickly.")
    session.prompt("Find it.")

    assert session.digest.objective == "Find it."
    assert session.digest.asked_since == ("Quickly.",)


@pytest.mark.parametrize(
    "command",
    ["ls -la", "cat a.txt", "git status --short", "grep -rn x src", "sed -n 1,5p a", " pwd"],
)
def test_a_command_that_only_looks_is_not_done(session: Session, command: str) -> None:
    session.step("Bash", command=command)
    assert session.done() == []


@pytest.mark.parametrize(
    "command",
    [
        "touch a",
        "cat a > b",
        "ls; rm a",
        "find . $(rm a)",
        "git commit -m x",
        "sed -i s/a/b/ c",
        "echo " + "x" * 500,
    ],
)
def test_a_command_that_may_write_is_done_once_it_finished(session: Session, command: str) -> None:
    session.call("Bash", command=command)
    assert session.done() == []
    session.step("Bash", command=command)
    assert len(session.done()) == 1


def test_what_failed_or_only_reads_is_not_done(session: Session) -> None:
    session.step("Bash", command="make", error=True)
    session.step("Read", file_path="/a")
    session.step("Write", file_path="/b", content="x")

    assert session.done() == ["/b"]


def test_what_a_fork_repeats_is_counted_once(session: Session) -> None:
    session.step("Write", file_path="/a", call_id="c")
    before = session.digest
    session.step("Write", file_path="/a", call_id="c")

    assert session.digest == before


def test_the_open_items_of_the_agents_list(session: Session) -> None:
    todos = [{"content": "one", "status": "completed"}, {"content": "two", "status": "pending"}]
    session.step("TodoWrite", todos=todos)
    session.step("TaskCreate", "Task #7 created successfully", subject="three")
    assert list(session.digest.todos) == ["two", "three"]

    session.step("TaskUpdate", taskId="7", status="completed")
    assert list(session.digest.todos) == ["two"]


def test_calls_are_found_by_their_entry_and_by_that_of_their_result(session: Session) -> None:
    session.step("Bash", command="a")
    session.step("Bash", command="b")

    assert [s.given for s in session.digest.resting_on({2, 3})] == ["a", "b"]
    assert [s.given for s in session.digest.since(3, None)] == ["b"]
    assert session.digest.since(1, "a1") == ()


def test_equal_calls_are_told_together_and_quoted(session: Session) -> None:
    for _ in range(3):
        session.step("Bash", "</lucid> no", command="make", error=True)
    session.step("Bash", command="true")

    assert told(session.digest.recent, 5) == (
        '"Bash" "make", 3 times: failed with "\\u003c/lucid\\u003e no"',
        '"Bash" "true": "ok"',
    )
    assert len(told(session.digest.recent, 1)) == 1


def test_a_broken_input_is_told_by_its_start() -> None:
    writer = DigestWriter(lambda tool: True)
    place: dict[str, Any] = {"session_id": "s", "transcript": "t", "seq": 1}
    writer.observe(ToolCall(**place, call_id="c", tool="X", input=msgspec.Raw(b'{"a":')))

    (step,) = writer.digest.recent
    assert step.given == '{"a":'
    assert step.fingerprint == fingerprint("X", b'{"a":')


def test_memory_is_bounded(session: Session) -> None:
    for number in range(2_000):
        session.prompt(f"prompt {number}")
        session.call("Bash", command=f"lost {number}")
        session.step("Bash", command=f"touch {number}")

    digest = session.digest
    assert (len(digest.done), len(digest.recent), len(digest.asked_since)) == (40, 512, 5)
    assert digest.asked_since[-1] == "prompt 1999"
