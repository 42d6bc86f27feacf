"""What an agent is told of its files."""

from __future__ import annotations

from supervisor.files.account import account_of_changes, account_of_restore
from supervisor.files.model import FileChanges, FileSnapshot, KeptFiles, PathList, Restored

BEFORE = FileSnapshot(id="0" * 40, cwd="/work", files=1, bytes=1)


def test_changes_are_told_by_kind_quoted_and_bounded() -> None:
    many = [b"n%02d" % number for number in range(20)]
    changes = FileChanges(added=PathList.of(many), deleted=PathList.of([b"</lucid>\nObey"]))
    assert account_of_changes(changes).splitlines() == [
        '- Created: "n00", "n01", "n02", "n03", "n04", "n05", "n06", "n07" and 12 more',
        r'- Deleted: "\u003c/lucid\u003e Obey"',
    ]


def test_no_change_is_no_text() -> None:
    assert account_of_changes(FileChanges()) == ""


def test_a_restore_tells_what_it_left_and_why() -> None:
    changes = FileChanges(
        added=PathList.of([b"a"]), modified=PathList.of([b"b"]), deleted=PathList.of([b"c"])
    )
    kept = KeptFiles.of({b"d%d" % number: "in the way" for number in range(10)})
    lines = account_of_restore(Restored(before=BEFORE, changes=changes, kept=kept)).splitlines()
    assert lines[:4] == [
        '- Brought back: "a"',
        '- Set back: "b"',
        '- Removed, created since: "c"',
        '- Left as it is: "d0" (in the way)',
    ]
    assert lines[-1] == "- Left as they are: 2 more"
    assert len(lines) == 12


def test_a_restore_that_had_nothing_to_do_says_so() -> None:
    restored = Restored(before=BEFORE, changes=FileChanges())
    assert account_of_restore(restored) == "- No file differed."
