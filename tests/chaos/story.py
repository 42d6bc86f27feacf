"""The model of a session that is to survive.

It does numbered steps, each a call that leaves a line in a log, some by way of a subagent.
It does as it is told: where Lucid says that calls may have run, it looks into the log and
repeats only what is missing. It never looks of its own accord, so a call that Lucid does
not name, or names as one that was not begun, is made again: the line doubles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from supervisor.core.entry import LUCID_MARKER
from supervisor.testing import Context, Fault, Reply, Scenario

__all__ = ["DONE", "OBJECTIVE", "Story", "by_lucid"]

OBJECTIVE = "Do every step once."
DONE = "Every step is done."

_QUICK = (0.02, 0.02)

_STEP = """\
#!/bin/sh
# step NUMBER BEFORE AFTER: seconds to wait before and after the line is written
cd "${0%/*}" || exit 1
: > "began-$1"
sleep "$2"
echo "$1" >> log
sleep "$3"
: > "ended-$1"
echo "step $1: ok"
"""
_LOOK = """\
#!/bin/sh
cd "${0%/*}" || exit 1
echo "log: $(cat log 2>/dev/null | tr '\\n' ' ')(end of log)"
"""

_TOLD_TO_VERIFY = "verify what it did"
_RAN = re.compile(r"^step (\d+): ok", re.MULTILINE)
_DELEGATED = re.compile(r"steps ([\d,]+): ok")
_ASKED = re.compile(r"Do the steps ([\d,]+)\.")
_LOOKED = re.compile(r"log: ([\d ]*)\(end of log\)")
_LAUNCHED = "Async agent launched"


class Story(Scenario):
    """A session's model; see the module."""

    folder: Path
    """Where its log is, on a disk that outlives the worker's host."""
    steps: int
    delegated: tuple[int, ...] = ()
    """Steps that a subagent is asked to do."""
    in_background: bool = False
    """Whether the subagent works in the background."""
    waits: tuple[float, float] = (0.05, 0.05)
    """Seconds that a step takes before and after it has written its line."""
    slow: int = 0
    """The only step that takes so long; 0 is all of them."""
    cut: int = 0
    """The step whose call is cut off while the model writes it, the first time; the one
    after the last is the last word."""
    cut_text: str = ""
    """What the model says before the call that is cut off."""

    @classmethod
    def in_folder(cls, folder: Path, **more: Any) -> Story:
        """A story whose log is in `folder`, with the programs that its calls run."""
        for name, text in (("step", _STEP), ("look", _LOOK)):
            program = folder / name
            program.write_text(text, encoding="utf-8")
            program.chmod(0o755)
        reply = {"name": "ends", "text": DONE}
        about = "Does its steps, each once, whatever happens."
        return cls.model_validate(
            {"about": about, "replies": [reply], "folder": folder, "delay": 0.1, **more}
        )

    @property
    def log(self) -> list[int]:
        """The steps that were done, in order, each as often as it was."""
        log = self.folder / "log"
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    def reply_to(self, context: Context, used: Mapping[str, int] | None = None) -> Reply | None:
        """What the model says, by its context alone but for the cut."""
        if context.request != "ordinary":
            return None
        if context.agent == "subagent":
            return self._as_subagent(context)
        reply = self._as_main(context)
        if reply.name == self.name_of(self.cut) and not (used or {}).get(reply.name):
            text = f"{self.cut_text} {reply.text}"
            return reply.model_copy(update={"text": text, "fault": Fault(hang="midway")})
        return reply

    def _as_main(self, context: Context) -> Reply:
        if _last(context.texts, _tells_to_verify) > _last(context.texts, _is_look):
            return _calls("looks", "I look first.", _bash(f"{self.folder}/look"))
        done = self.known(context)
        missing = [step for step in range(1, self.steps + 1) if step not in done]
        if not missing:
            return Reply(name=self.name_of(self.steps + 1), text=DONE)
        if missing[0] not in self.delegated:
            return self._step(missing[0])
        if _last(context.texts, _is_launch) > _last(context.texts, by_lucid):
            return Reply(name="waits", text="I wait for it.")
        return self._delegates([step for step in missing if step in self.delegated])

    def known(self, context: Context) -> set[int]:
        """The steps that the model can see were done."""
        looked = max(_last(context.texts, _is_look), 0)
        return {
            *_numbers(_RAN, context.texts),
            *_numbers(_DELEGATED, context.texts),
            *_numbers(_LOOKED, context.texts[looked:]),
        }

    def _as_subagent(self, context: Context) -> Reply:
        asked = next(_numbers_in(_ASKED, context.told))
        done = set(_numbers(_RAN, context.texts))
        missing = [step for step in asked if step not in done]
        if missing:
            return self._step(missing[0])
        return Reply(name="subagent ends", text=f"steps {_joined(asked)}: ok")

    def _step(self, number: int) -> Reply:
        return _calls(self.name_of(number), "Next.", _bash(self.command(number)))

    def command(self, number: int) -> str:
        """What the call of a step runs."""
        before, after = self.waits if self.slow in (0, number) else _QUICK
        return f"{self.folder}/step {number} {before:.2f} {after:.2f}"

    def name_of(self, number: int) -> str:
        """What the reply is called that makes the call of a step; or is the last word."""
        return f"step {number}" if number <= self.steps else "ends"

    def _delegates(self, steps: list[int]) -> Reply:
        asks = {
            "description": "Do steps",
            "prompt": f"Do the steps {_joined(steps)}.",
            "subagent_type": "general-purpose",
            "run_in_background": self.in_background,
        }
        return _calls("delegates", "Help me.", {"tool": "Agent", "input": asks})


def by_lucid(text: str) -> bool:
    """Whether Lucid says it, alone or behind a prompt that it sends again."""
    return LUCID_MARKER in text


def _tells_to_verify(text: str) -> bool:
    return by_lucid(text) and _TOLD_TO_VERIFY in text


def _is_launch(text: str) -> bool:
    return text.startswith(_LAUNCHED)


def _is_look(text: str) -> bool:
    return _LOOKED.search(text) is not None


def _last(texts: tuple[str, ...], fits: Callable[[str], bool]) -> int:
    """Where the last text that fits stands; -1 where none does."""
    return max((place for place, text in enumerate(texts) if fits(text)), default=-1)


def _numbers(pattern: re.Pattern[str], texts: Iterable[str]) -> Iterator[int]:
    for numbers in _numbers_in(pattern, texts):
        yield from numbers


def _numbers_in(pattern: re.Pattern[str], texts: Iterable[str]) -> Iterator[list[int]]:
    for text in texts:
        for found in pattern.finditer(text):
            yield [int(number) for number in re.findall(r"\d+", found[1])]


def _joined(steps: list[int]) -> str:
    return ",".join(map(str, steps))


def _calls(name: str, text: str, call: dict[str, Any]) -> Reply:
    return Reply.model_validate({"name": name, "text": text, "calls": [call]})


def _bash(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command, "description": "Work"}}
