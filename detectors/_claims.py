"""What the words at the end of a turn claim: that the work, tests or a commit are done.

English only. A claim begins a sentence or an item of a list, or names the tests; what
stands in a code fence, is wished, planned or made to depend on something is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = [
    "claimed_change",
    "claimed_commit",
    "claimed_done",
    "claimed_tests",
    "hedges",
    "sentences",
]

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_ENDS = re.compile(r"[.!?]+(?=\s|\*|\Z)|\n+")
_ORNAMENT = " \t\r>*_#-:,✅☑✔🎉\ufe0f"
_AT_END = _ORNAMENT.replace(":", "")
_OPENING = r"(?:(?:perfect|great|excellent|yes|okay|ok|both|now|and)[,:]?\s+)?"
_DEED = (
    r"(?:completed|finished|implemented|fixed|added|updated|created|written|wrote|refactored"
    r"|removed|deleted|changed|renamed|moved|replaced|resolved|migrated|saved)"
)
_DONE = re.compile(
    _OPENING + r"(?:(?:all|everything(?: is)?|that's|it's)\s+)?"
    r"(?:done\b|completed?(?:$|[:,])|finished\b|fixed\b|implemented\b"
    r"|i(?:'ve| have)? (?:now |also |just |fully |successfully )*" + _DEED + r"\b"
    r"|successfully " + _DEED + r"\b"
    r"|(?:the|this|all) (?:[^\s]{1,40} ){0,6}(?:is|are|has been|have been) (?:now )?"
    r"(?:fully |successfully )?(?:complete|completed|done|finished|implemented|fixed)\b)",
    re.IGNORECASE,
)
_EDIT = (
    r"(?:implemented|fixed|added|updated|created|written|refactored|removed|deleted|renamed"
    r"|moved|replaced|migrated)\b"
)
_I_DID = re.compile(
    _OPENING + r"i(?:'ve| have)? (?:now |also |just |successfully )*" + _EDIT, re.IGNORECASE
)
_FIRST_WORDS = re.compile(
    _OPENING + r"(?:now |also |just |successfully )*" + _EDIT + r"(?! (?:in|by|at|to|on|for)\b)",
    re.IGNORECASE,
)
""""Created `x`", without saying who: a claim only as a reply's first words, since it may
report on somebody else's work further down."""
_IN_FILES = re.compile(
    r"`|\w\.[a-z]{1,5}\b|\b(?:files?|functions?|methods?|class(?:es)?|modules?|code|tests?|bug)\b",
    re.IGNORECASE,
)
"""What was changed stands in files: not a plan, a summary or an understanding."""
_TESTS = re.compile(
    r"\b(?:all|every|the|both|[0-9]{1,6})\s(?:[\w/`-]{1,40}\s){0,3}(?:tests?|specs?|suite)\s"
    r"(?:(?:are|is|now|still|also|have|has|all|were|was)\s){0,3}"
    r"(?:pass|passes|passed|passing|green|succeed|succeeded)\b"
    r"|(?:\A|: )(?:all )?tests? (?:now |all |still )?pass(?:es|ed|ing)?\b",
    re.IGNORECASE,
)
_COMMIT = re.compile(
    _OPENING + r"(?:done,? )?(?:i(?:'ve| have)? |(?:(?:the|all|your|these) )?"
    r"(?:changes|fix|work|everything|code)(?: (?:have|has) been| are| is| was| were)? )?"
    r"(?:now |also |successfully |just )*(?P<what>committed|pushed)"
    r"(?=\s*(?:$|[,:;(`—-]|(?:as|to|and|in|with|on|the|all|both|everything|it)\b))",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"\b(?:should|would|will|could|makes?|get|let|ensures?|until|if|once|when|whether|not"
    r"|\w+n't|no|none|expect\w*|so that|before|verify|check)\b",
    re.IGNORECASE,
)
_HEDGES = re.compile(
    r"\b(?:fail(?:s|ed|ing|ures?)?|errors?|except|apart from|other than|pre-?existing|unrelated"
    r"|flaky|skipp\w+|broken|unable|cannot|\w+n't|but|however|although"
    r"|not (?:run|able|yet|tested|verified))\b",
    re.IGNORECASE,
)


def claimed_done(said: Iterable[str]) -> str:
    """The sentence that claims that the work is done, or nothing.

    >>> claimed_done(["Done", "The parser handles tabs now"])
    'Done'
    >>> claimed_done(["Let me know when you are done"])
    ''
    """
    return next((sentence for sentence in said if _DONE.match(sentence)), "")


def claimed_change(said: Iterable[str]) -> str:
    """The first sentence that claims that the agent changed something, or nothing.

    >>> claimed_change(["Perfect", "I've updated `parser.py` and the docs"])
    "I've updated `parser.py` and the docs"
    >>> claimed_change(["The file was added in 2019", "Created by hand"])
    ''
    """
    for number, sentence in enumerate(said):
        if sentence.endswith(":") or not _IN_FILES.search(sentence):
            continue
        if _I_DID.match(sentence) or (number == 0 and _FIRST_WORDS.match(sentence)):
            return sentence
    return ""


def claimed_tests(said: Iterable[str]) -> str:
    """The sentence that claims that tests pass, or nothing.

    >>> claimed_tests(["Fixed", "All 12 tests pass now"])
    'All 12 tests pass now'
    >>> claimed_tests(["Then the tests should pass", "Run them until all tests pass"])
    ''
    """
    for sentence in said:
        # The words looked for first: searching every sentence takes far longer.
        if "pass" not in sentence and "green" not in sentence and "succe" not in sentence:
            continue
        claim = _TESTS.search(sentence)
        if claim is not None and not _UNSURE.search(sentence, 0, claim.end()):
            return sentence
    return ""


def claimed_commit(said: Iterable[str]) -> str:
    """`committed` or `pushed`, where the words claim so, or nothing.

    >>> claimed_commit(["Fixed the typo", "Committed as 1a2b3c4"])
    'committed'
    >>> claimed_commit(["Nothing is committed yet", "The changes are not pushed"])
    ''
    """
    claims = (_COMMIT.match(sentence) for sentence in said)
    return next((claim["what"].lower() for claim in claims if claim is not None), "")


def hedges(said: str) -> bool:
    """Whether the words admit that something did not go as wished.

    >>> hedges("All tests pass except the flaky one.")
    True
    """
    return _HEDGES.search(_prose(said)) is not None


def sentences(said: str) -> list[str]:
    """The sentences and list items in a text, without its code blocks and ornaments.

    >>> sentences("## Done!\\n- Fixed **the parser**. Tests:")
    ['Done', 'Fixed **the parser', 'Tests:']
    """
    # A colon at the end stays: it makes the line a heading.
    parts = (part.lstrip(_ORNAMENT).rstrip(_AT_END) for part in _ENDS.split(_prose(said)))
    return [" ".join(part.split()) for part in parts if part]


def _prose(said: str) -> str:
    return _FENCE.sub("", said) if "```" in said else said
