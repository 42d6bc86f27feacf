"""`LineFile` reads a file that grows, and says what is wrong with one that is broken."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from supervisor.errors import TranscriptError
from supervisor.ingest.lines import Fault, Line, LineFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "transcript.jsonl"


def _append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


def test_lines_know_their_number_and_offset(path: Path) -> None:
    path.write_bytes(b'{"a":1}\n\n  \r\n{"b":2}\r\n')
    assert list(LineFile(path).read_new()) == [
        Line(1, 0, b'{"a":1}'),
        Line(4, 13, b'{"b":2}\r'),
    ]


def test_only_what_was_appended_is_read_again(path: Path) -> None:
    file = LineFile(path)
    assert list(file.read_new()) == []
    _append(path, b"one\n")
    assert list(file.read_new()) == [Line(1, 0, b"one")]
    assert list(file.read_new()) == []
    _append(path, b"two\nthree\n")
    assert list(file.read_new()) == [Line(2, 4, b"two"), Line(3, 8, b"three")]


def test_an_unfinished_line_is_waited_for(path: Path) -> None:
    file = LineFile(path)
    _append(path, b'{"a":')
    assert list(file.read_new()) == []
    assert file.pending == 5
    _append(path, b"1")
    assert list(file.read_new()) == []
    _append(path, b"}\n{")
    assert list(file.read_new()) == [Line(1, 0, b'{"a":1}')]
    assert file.pending == 1


def test_a_character_cut_by_the_writer_is_put_together(path: Path) -> None:
    file = LineFile(path)
    text = '{"a":"é"}\n'.encode()
    _append(path, text[:7])
    assert list(file.read_new()) == []
    _append(path, text[7:])
    assert list(file.read_new()) == [Line(1, 0, text[:-1])]


def test_the_rest_of_a_finished_file_is_taken_if_it_is_json(path: Path) -> None:
    path.write_bytes(b'{"a":1}\n{"b":2}')
    file = LineFile(path)
    assert list(file.read_new()) == [Line(1, 0, b'{"a":1}')]
    assert file.take_rest() == Line(2, 8, b'{"b":2}')
    assert file.take_rest() is None
    _append(path, b'\n{"c":3}\n')
    assert [line.raw for line in file.read_new() if isinstance(line, Line)] == [b'{"c":3}']


def test_the_rest_of_a_finished_file_is_a_fault_if_it_was_cut(path: Path) -> None:
    path.write_bytes(b'{"a":1}\n{"b":')
    file = LineFile(path)
    list(file.read_new())
    rest = file.take_rest()
    assert isinstance(rest, Fault)
    assert (rest.number, rest.offset, rest.length) == (2, 8, 5)
    assert "unfinished" in rest.message
    _append(path, b"2}\n")
    assert list(file.read_new()) == [Line(2, 8, b'{"b":2}')]


def test_stopping_in_the_middle_loses_nothing(path: Path) -> None:
    path.write_bytes(b"one\ntwo\nthree\n")
    file = LineFile(path)
    assert next(file.read_new()) == Line(1, 0, b"one")
    assert [line.number for line in file.read_new()] == [2, 3]


def test_a_line_too_long_is_skipped_with_its_place_and_the_rest_is_read(path: Path) -> None:
    path.write_bytes(b"one\n" + b"x" * 1_001 + b"\n" + b"y" * 1_000 + b"\nlast\n")
    first, fault, longest, last = LineFile(path, max_line=1_000).read_new()
    assert fault == Fault(2, 4, 1_001, "a line of 1,001 bytes is skipped: the most is 1,000")
    assert isinstance(longest, Line)
    assert (first, last) == (Line(1, 0, b"one"), Line(4, 2_007, b"last"))
    assert longest.raw == b"y" * 1_000


def test_a_line_of_50_mb_is_never_held(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b'\n{"a":1}\n')
    tracemalloc.start()
    fault, line = LineFile(path, max_line=4_000_000).read_new()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(fault, Fault)
    assert (fault.number, fault.offset, fault.length) == (1, 0, 50_000_000)
    assert line == Line(2, 50_000_001, b'{"a":1}')
    assert peak < 12_000_000


def test_a_line_too_long_that_is_still_being_written_is_held_neither(path: Path) -> None:
    file = LineFile(path, max_line=10)
    _append(path, b"x" * 20)
    assert list(file.read_new()) == []
    assert isinstance(file.take_rest(), Fault)
    _append(path, b"x\nshort\n")
    fault, line = file.read_new()
    assert isinstance(fault, Fault)
    assert fault.length == 21
    assert line == Line(2, 22, b"short")


def test_a_file_that_shrank_is_read_from_its_start(path: Path) -> None:
    path.write_bytes(b"one\ntwo\n")
    file = LineFile(path)
    list(file.read_new())
    path.write_bytes(b"new\n")
    fault, line = file.read_new()
    assert isinstance(fault, Fault)
    assert (fault.number, fault.offset, fault.length) == (3, 8, 0)
    assert "shrank from 8 to 4 bytes" in fault.message
    assert line == Line(1, 0, b"new")


@pytest.mark.parametrize("written", ["in place", "renamed over it", "after it was gone"])
def test_a_file_that_was_replaced_is_read_from_its_start(path: Path, written: str) -> None:
    path.write_bytes(b"one\ntwo\n")
    file = LineFile(path)
    list(file.read_new())
    other = path.with_suffix(".new")
    other.write_bytes(b"ONE\ntwo\nthree\n")
    if written == "in place":
        path.write_bytes(other.read_bytes())
    else:
        if written == "after it was gone":
            path.unlink()
            assert list(file.read_new()) == []
        os.replace(other, path)
    fault, *lines = file.read_new()
    assert isinstance(fault, Fault)
    assert "replaced" in fault.message
    assert [line.number for line in lines] == [1, 2, 3]


def test_a_copy_put_in_its_place_is_noticed_though_it_begins_the_same(path: Path) -> None:
    path.write_bytes(b"one\n")
    file = LineFile(path)
    list(file.read_new())
    other = path.with_suffix(".new")
    other.write_bytes(b"one\ntwo\n")
    os.replace(other, path)
    fault, *lines = file.read_new()
    assert isinstance(fault, Fault)
    assert len(lines) == 2
    assert list(file.read_new()) == []


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="cannot be read: Is a directory"):
        list(LineFile(tmp_path).read_new())


def test_reading_goes_on_from_a_place_that_was_kept(path: Path) -> None:
    path.write_bytes(b'{"a":1}\n{"b":2}\n{"c"')
    first = LineFile(path)
    list(first.read_new())
    with path.open("ab") as file:
        file.write(b":3}\n")

    again = LineFile(path, place=first.place)
    assert list(again.read_new()) == [Line(3, 16, b'{"c":3}')]
    assert LineFile(path, place=again.place).place == again.place


def test_a_place_in_another_file_is_its_start(path: Path) -> None:
    path.write_bytes(b'{"a":1}\n{"b":2}\n')
    first = LineFile(path)
    list(first.read_new())
    path.write_bytes(b'{"x":1}\n{"y":2}\n{"z":3}\n')

    fault, *read = LineFile(path, place=first.place).read_new()
    assert isinstance(fault, Fault)
    assert "replaced" in fault.message
    assert [line.number for line in read] == [1, 2, 3]


def test_a_link_is_not_followed_where_it_must_not_be(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"{}\n")
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)

    assert len(list(LineFile(link).read_new())) == 1
    with pytest.raises(TranscriptError):
        list(LineFile(link, follow_link=False).read_new())
