"""Text that a model wrote when it had lost the thread."""

from __future__ import annotations

import re

__all__ = ["broken_argument", "degenerate", "leaked", "prose"]

_EDGE = 2_000
"""Characters at either end of a text that are looked at."""
_FEWEST_WORDS = 60
_MOST_WORDS = 400
_DISTINCT = 0.15
"""Share of distinct words, below which a text repeats itself. Of all texts of 60 words and
more in the corpora's development half, made-up loop cases apart, the lowest is 0.21."""
_RUN = re.compile(r"([^\W_])\1{79,}")
"""One letter, 80 times over. The longest in a healthy text are 62 digits, quoted."""
_STRIDE, _PROBE = 72, 8
"""Wherever such a run lies, one of the places this far apart has so many letters of it."""
_GARBAGE = re.compile(r"[\ufffd\ue000-\uf8ff]")
"""What stands where a character could not be decoded, and characters without a meaning."""
_MUCH_GARBAGE = 20

_SPECIAL = re.compile(
    r"<\|(?:im_(?:start|end)|endoftext|eot_id|end_of_turn|assistant|user|system|end)\|>|\[/?INST\]"
)
"""Tokens that frame turns; they are never meant to be read."""
_HUMAN = re.compile(r"\n\n(?:Human|H): \S")
"""How a model of Claude's family writes its user's next prompt itself."""

_BROKEN = re.compile(
    rb'"(?:file_path|notebook_path|path|url)"\s*:\s*"(?:[^"\\]|\\.){0,200}?'
    rb"(?:<tool_use_error>|\[object Object\]|Traceback \(most recent|InputValidationError)"
)


def prose(text: str) -> str:
    """The head and the tail of `text` without code: neither fences nor table rows."""
    if len(text) > 2 * _EDGE:
        text = f"{text[:_EDGE]}\n{text[-_EDGE:]}"
    if "```" in text:
        text = "\n".join(text.split("```")[::2])
    if "\n|" in text:
        text = "\n".join(line for line in text.split("\n") if not line.startswith("|"))
    return text


def degenerate(text: str) -> str | None:
    """How the prose `text` falls apart, if it does."""
    if len(text) < 2 * _FEWEST_WORDS:
        return None
    if _may_hold_run(text) and (run := _RUN.search(text)):
        return f"one character {len(run[0])} times over"
    words = text.split(None, _MOST_WORDS)[:_MOST_WORDS]
    if len(words) >= _FEWEST_WORDS and len(set(words)) < _DISTINCT * len(words):
        return f"{len(set(words))} distinct words among {len(words)}"
    if text.isascii():
        return None
    garbage = len(_GARBAGE.findall(text))
    return f"{garbage} characters that mean nothing" if garbage >= _MUCH_GARBAGE else None


def _may_hold_run(text: str) -> bool:
    """Whether to search for a run, which takes as long as all else together."""
    places = range(0, len(text), _STRIDE)
    return any(text.startswith(text[place] * _PROBE, place) for place in places)


def leaked(text: str) -> str | None:
    """A token or a turn that should not stand in prose, outside inline code."""
    if "<|" in text or "INST]" in text:
        for found in _SPECIAL.finditer(text):
            if text[max(0, found.start() - 1)] not in "`'\"":
                return found[0]
    if ("Human: " in text or "H: " in text) and _HUMAN.search(text):
        return "the user's next prompt"
    return None


def broken_argument(given: bytes) -> bool:
    """Whether a path or address is an error message, taken for a value."""
    return _BROKEN.search(given) is not None
