"""What a prompt forbids, and whether a tool call breaks it.

Read are sentences and list items that begin with a ban or a restriction in English:
"do not modify `schema.sql`", "don't commit", "never run `make deploy`", "only touch
src/api/", "do not make any changes". What depends on a condition ("unless", "until I",
"before") is left to the reader. A ban needs a name that a call can be compared with: a
path, a file, a command, a git verb.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from detectors._commands import PARTS
from detectors._deeds import GIT, Deed

__all__ = ["Constraint", "constraints_in"]

_LONGEST_PROMPT = 8_000
"""Characters of a prompt that are read."""
_MOST = 8
"""Constraints read from one prompt, and names in one constraint."""
_SHORTEST = 8
"""Characters that a line with a ban has at least, such as "No edits"."""
_LONGEST = 160
"""Characters kept of one constraint."""

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_SIGNS = ("not", "n't", "never", "only", "without", "avoid", "no ")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|,\s+(?=(?:and|but)\s|(?:do not|don't|never|without)\b)")
_CONDITION = re.compile(
    r"\b(?:unless|until|before|if|when|while|except|without asking|yet to|more than|too)\b",
    re.IGNORECASE,
)
_FOR_NOW = re.compile(r"\b(?:yet|for now|this time)\b", re.IGNORECASE)
_LEAD = (
    r"(?:(?:please|and|but|also|important|note|make sure|you|we|must|should|just|critical"
    r"|constraints?|rules?)[,:]?\s+){0,4}"
)
_NOT = (
    r"(?:do not|don't|never|must not|should not|shouldn't|avoid|without"
    r"|i (?:do not|don't) want you to)"
)
_BAN = re.compile(
    _LEAD + _NOT + r":?\s+(?P<verb>[a-z-]{3,20}):?\s*(?P<what>.*)", re.IGNORECASE | re.DOTALL
)
_ONLY = re.compile(
    _LEAD + r"only\s+(?:ever\s+)?(?:touch|modify|edit|change|update|work (?:on|in)|write to)\s+"
    r"(?P<what>.*)",
    re.IGNORECASE | re.DOTALL,
)
_OUTSIDE = re.compile(
    _LEAD + _NOT + r"\s+(?:touch|modif|edit|chang|updat|alter)[a-z]*\s+"
    r"(?:any(?:thing)?\s+|other\s+|files?\s+|code\s+){1,3}"
    r"(?:other than|outside(?: of)?|except(?: for)?|besides)\s+(?P<what>.*)",
    re.IGNORECASE | re.DOTALL,
)
_NO_CHANGES = re.compile(
    _LEAD + r"(?:" + _NOT + r"\s+(?:mak(?:e|ing)|apply(?:ing)?)\s+(?:any\s+)?(?:\w+\s+)?"
    r"(?:changes|edits|modifications)"
    r"|" + _NOT + r"\s+(?:edit|modify|change|touch|write)\w*\s+(?:any(?:thing| files?| code)"
    r"|code|files)"
    r"|no\s+(?:code\s+|file\s+)?(?:changes|edits|modifications))\b\s*(?:yet|please|at all|[.!]|$)",
    re.IGNORECASE,
)
_EDITING = re.compile(
    r"(?:touch|modif|edit|chang|alter|updat|rewrit|overwrit|delet|remov|renam|mov)[a-z]*",
    re.IGNORECASE,
)
_RUNNING = re.compile(r"(?:run|us|execut|call|invok)(?:e|ing|ning)?", re.IGNORECASE)
_DEEDS = {
    "commit": GIT + r"commit\b",
    "push": GIT + r"push\b",
    "merge": GIT + r"merge\b",
    "rebase": GIT + r"rebase\b",
    "force-push": GIT + r"push\b[^|;&\n]{0,200}?(?:-f\b|--force)",
    "install": r"\b(?:pip3?|uv|npm|pnpm|yarn|apt|apt-get|brew|cargo|gem|poetry|conda)\s+(?:\S+\s+)?"
    r"(?:install|add)\b",
    "publish": r"\b(?:npm|cargo|uv|poetry|twine)\s+(?:publish|upload)\b",
}
"""Deeds that need no object, as a shell command shows them."""
_ABSTRACT = re.compile(
    r"\s*(?:$|[.,;:!(]|(?:any\w*|new|it|them|this|yet|or|and|changes|dependenc\w+|packages)\b)",
    re.IGNORECASE,
)
"""What may follow such a deed's verb. "Do not push to main" leaves other branches."""
_REMOVING = re.compile(r"(?:delet|remov|renam|mov)[a-z]*", re.IGNORECASE)
_QUOTED = re.compile(r"`([^`\n]{1,100})`")
_NEXT_NAME = re.compile(
    r"(?:\s*(?:,|\band\b|\bor\b|&)){0,2}\s*(?:(?:any|anything|the|our|my|your|existing|files?"
    r"|in|under|inside|within|folder|directory)\s+){0,4}"
    r"(?:`(?P<quoted>[^`\n]{1,100})`|\"(?P<spoken>[^\"\n]{1,100})\""
    r"|(?P<path>(?:[\w@~*.-]{1,60}/){1,12}[\w@*.-]{0,80}|[\w*-]{0,60}\.[A-Za-z][A-Za-z0-9]{0,7})"
    r"(?![\w(])|(?P<folder>[\w.-]{2,60})\s(?:folder|directory)\b)"
)
_TESTS = re.compile(r"\s*(?:any |the |existing |our |my )*(?:unit |test )?tests?\b", re.IGNORECASE)
_TEST_PATH = re.compile(r"(?:^|/)tests?/|(?:^|/)test_[^/]*$|[._]test\.[a-z]+$|\.spec\.[a-z]+$")
_COMMANDS = re.compile(
    r"((?:sudo|docker|npm|yarn|pnpm|pip|curl|wget|pytest|grep|sed|awk|rm|ssh|kubectl|terraform|git"
    r"|make|cargo)(?: [\w./:=-]{1,40}){0,3})\s*[.,!)]?\s*\Z"
)
_WRITES = re.compile(r"\b(?:sed\s+-i|perl\s+-p?i|rm|mv|tee|truncate|git\s+(?:rm|mv))\b|>")
_REMOVES = re.compile(r"\b(?:rm|mv|git\s+(?:rm|mv))\b")
_SCRATCH = re.compile(r"^(?:/private)?/(?:var/)?tmp/|/\.claude/|^/dev/")


@dataclass(slots=True, frozen=True)
class Constraint:
    """One ban or restriction of the user's."""

    words: str
    """As the prompt says it, bounded."""
    kind: str
    """`edit`: names must not be written; `remove`: nor removed or moved; `only`: nothing
    else may be written; `no changes`: nothing at all may be; `run`: names must not be run;
    otherwise a deed, such as `commit`."""
    names: tuple[str, ...] = ()
    tests: bool = False
    """Whether it covers tests, wherever they stand."""

    @property
    def size(self) -> int:
        """Bytes of its characters, which take four each where one of them is wide."""
        texts = (self.words, *self.names)
        return sum(len(text) * (1 if text.isascii() else 4) for text in texts)

    def breach(self, deed: Deed) -> float:
        """How sure it is, 0 to 1, that the call breaks this constraint."""
        match self.kind:
            case "edit":
                return self._edits(deed) or self._writes(deed)
            case "remove":
                return self._writes(deed, removes=True)
            case "only":
                return self._strays(deed)
            case "no changes":
                return 0.9 if deed.edits and deed.path and not _SCRATCH.search(deed.path) else 0.0
            case "run":
                return 0.9 if any(_runs(name, deed) for name in self.names) else 0.0
            case verb:
                return 0.9 if deed.command and re.search(_DEEDS[verb], deed.command) else 0.0

    def lifted_by(self, prompt: str) -> bool:
        """Whether a later prompt of the user's speaks of it again: what holds then is
        what that prompt says. What allows a single place, or nothing, holds for one."""
        if self.kind in {"no changes", "only"} or _FOR_NOW.search(self.words):
            return True
        said = prompt.lower()
        return any(word.lower() in said for word in (*self.names, *self.kind.split()))

    def _edits(self, deed: Deed) -> float:
        if deed.edits:
            if "existing" in self.words and _may_create(deed):
                return 0.0
            if any(_is_at(deed.path, name) for name in self.names):
                return 0.9
            return 0.6 if self.tests and _TEST_PATH.search(deed.path) else 0.0
        return 0.0

    def _writes(self, deed: Deed, *, removes: bool = False) -> float:
        sign = _REMOVES if removes else _WRITES
        written = [part for part in PARTS.split(deed.command) if sign.search(part)]
        hit = any(_writes_to(name, part) for part in written for name in self.names)
        return 0.85 if hit else 0.0

    def _strays(self, deed: Deed) -> float:
        if not deed.edits or not deed.path or _SCRATCH.search(deed.path):
            return 0.0
        if any(_is_at(deed.path, name) for name in self.names):
            return 0.0
        # A new file beside what was named may be part of the work.
        return 0.6 if _may_create(deed) else 0.85


def constraints_in(prompt: str) -> tuple[Constraint, ...]:
    """The constraints that a prompt states, at most eight.

    >>> [c.kind for c in constraints_in("Fix the bug. Do not touch src/db.py, and don't commit.")]
    ['edit', 'commit']
    >>> [c.names for c in constraints_in("- Only edit `src/api/`\\n- DO NOT MODIFY: setup.cfg")]
    [('src/api',), ('setup.cfg',)]
    >>> constraints_in("Why does it not commit? I don't know what to do.")
    ()
    """
    text = prompt[:_LONGEST_PROMPT].replace("\u2019", "'")
    text = _FENCE.sub("", text) if "```" in text else text
    lines = (line for line in text.split("\n") if _may_restrict(line))
    return tuple(found for found, _ in zip(_read(lines), range(_MOST), strict=False))


def _may_restrict(line: str) -> bool:
    """Whether a line holds a word that bans have: reading every line takes far longer."""
    if len(line) < _SHORTEST:
        return False
    said = line.lower()
    return any(word in said for word in _SIGNS)


def _read(lines: Iterable[str]) -> Iterator[Constraint]:
    for part in (part for line in lines for part in _SENTENCE.split(line)):
        sentence = part.strip(" \t\r-*_>#•0123456789.)")[: _LONGEST * 2]
        if not _may_restrict(sentence):
            continue
        words = " ".join(sentence.split())[:_LONGEST]
        if only := _ONLY.match(sentence) or _OUTSIDE.match(sentence):
            if names := _names(only["what"], places=True):
                yield Constraint(words, "only", names)
        elif _CONDITION.search(sentence):
            continue
        elif _NO_CHANGES.match(sentence):
            yield Constraint(words, "no changes")
        elif ban := _BAN.match(sentence):
            yield from _banned(words, ban["verb"].lower(), ban["what"])


def _banned(words: str, verb: str, what: str) -> Iterator[Constraint]:
    deed = {"committing": "commit", "installing": "install"}.get(verb, verb.removesuffix("ing"))
    if deed in _DEEDS:
        if _ABSTRACT.match(what):
            yield Constraint(words, deed)
    elif _EDITING.fullmatch(verb):
        names, tests = _names(what), _TESTS.match(what) is not None
        if names or tests:
            kind = "remove" if _REMOVING.fullmatch(verb) else "edit"
            yield Constraint(words, kind, names, tests)
    elif _RUNNING.fullmatch(verb):
        what = what.removeprefix("the ")
        named = _QUOTED.match(what) or _COMMANDS.match(what)
        if named is not None:
            yield Constraint(words, "run", (" ".join(named[1].split()),))


def _names(what: str, *, places: bool = False) -> tuple[str, ...]:
    """The paths and files with which the object of a ban begins; none, if `places` are
    wanted and one of them may be something else, such as a function.

    >>> _names("the files under `db/`, setup.cfg and the vendor folder, as agreed in notes.md")
    ('db', 'setup.cfg', 'vendor')
    >>> _names("the public API in `api.py`")
    ()
    >>> _names("`src/` and `parse`", places=True)
    ()
    """
    names: dict[str, None] = {}
    place = 0
    while len(names) < _MOST and (found := _NEXT_NAME.match(what, place)):
        name = found["quoted"] or found["spoken"] or found["path"] or found["folder"]
        if places and not found["folder"] and "/" not in name and "." not in name:
            return ()
        names[name.strip().removeprefix("./").rstrip("/.,")] = None
        place = found.end()
    return tuple(name for name in names if len(name) > 1)


def _may_create(deed: Deed) -> bool:
    return deed.tool.lower().endswith(("write", "create_file", "write_file"))


def _is_at(path: str, name: str) -> bool:
    """Whether a path is, or lies within, what is named."""
    if "*" in name:
        return fnmatchcase(path, f"*{name}") or fnmatchcase(path, name)
    return f"/{name}/" in f"/{path}/"


def _writes_to(name: str, part: str) -> bool:
    """Whether one simple command that writes has what is named as an argument."""
    written = part.rpartition(">")[2] if ">" in part else part
    return any(_is_at(word.strip("'\""), name) for word in written.split())


def _runs(name: str, deed: Deed) -> bool:
    if deed.tool == name:
        return True
    return any(f" {name} " in f" {' '.join(part.split())} " for part in PARTS.split(deed.command))
