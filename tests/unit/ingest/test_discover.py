"""`find_transcripts` finds every transcript once and knows whose it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import TranscriptError
from supervisor.ingest.discover import Source, find_transcripts

MAIN = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


def _write(path: Path, *records: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{record}\n" for record in records))
    return path


def _main(path: Path, session: str = MAIN) -> Path:
    return _write(path, '{"type":"summary"}', f'{{"type":"user","sessionId":"{session}"}}')


def _agent(path: Path, agent: str, session: str = MAIN) -> Path:
    record = f'{{"type":"user","sessionId":"{session}","isSidechain":true,"agentId":"{agent}"}}'
    return _write(path, '{"type":"agent_metadata"}', record)


def test_a_projects_folder_of_new_and_old_layout(tmp_path: Path) -> None:
    project = tmp_path / "projects" / "-work-demo"
    nested = project / MAIN / "subagents"
    _main(project / f"{OTHER}.jsonl", OTHER)
    _main(project / f"{MAIN}.jsonl")
    _agent(nested / "agent-a1.jsonl", "a1")
    _agent(nested / "workflows" / "run" / "agent-b2.jsonl", "b2")
    _agent(project / "agent-c3.jsonl", "c3", OTHER)
    _write(tmp_path / "history.jsonl", '{"display":"hi","timestamp":1}')
    assert find_transcripts(tmp_path) == [
        Source(path=project / f"{MAIN}.jsonl", session_id=MAIN, project_key="-work-demo"),
        Source(
            path=nested / "agent-a1.jsonl",
            session_id=MAIN,
            project_key="-work-demo",
            agent_id="a1",
            subpath="subagents/agent-a1",
        ),
        Source(
            path=nested / "workflows" / "run" / "agent-b2.jsonl",
            session_id=MAIN,
            project_key="-work-demo",
            agent_id="b2",
            subpath="subagents/workflows/run/agent-b2",
        ),
        Source(path=project / f"{OTHER}.jsonl", session_id=OTHER, project_key="-work-demo"),
        Source(
            path=project / "agent-c3.jsonl",
            session_id=OTHER,
            project_key="-work-demo",
            agent_id="c3",
            subpath="subagents/agent-c3",
        ),
    ]


def test_a_main_file_comes_with_its_own_subagents(tmp_path: Path) -> None:
    main = _main(tmp_path / f"{MAIN}.jsonl")
    _agent(tmp_path / MAIN / "subagents" / "agent-a1.jsonl", "a1")
    _agent(tmp_path / "agent-c3.jsonl", "c3")
    _agent(tmp_path / "agent-d4.jsonl", "d4", OTHER)
    assert [source.agent_id for source in find_transcripts(main)] == [None, "a1", "c3"]


def test_a_subagents_file_comes_alone(tmp_path: Path) -> None:
    (source,) = find_transcripts(_agent(tmp_path / "agent-c3.jsonl", "c3"))
    assert (source.session_id, source.agent_id) == (MAIN, "c3")


def test_a_loose_files_session_is_what_it_says_inside(tmp_path: Path) -> None:
    _main(tmp_path / "copied-yesterday.jsonl")
    _agent(tmp_path / "renamed.jsonl", "a1")
    main, agent = find_transcripts(tmp_path)
    assert (main.session_id, main.subpath, main.project_key) == (MAIN, "", None)
    assert (agent.session_id, agent.subpath) == (MAIN, "subagents/agent-a1")


def test_a_file_that_says_nothing_is_named_by_its_name(tmp_path: Path) -> None:
    _write(tmp_path / "empty.jsonl")
    _write(tmp_path / "garbage.jsonl", "{{{")
    assert [source.session_id for source in find_transcripts(tmp_path)] == ["empty", "garbage"]


def test_broken_first_lines_do_not_hide_whose_file_it_is(tmp_path: Path) -> None:
    _write(
        tmp_path / "x.jsonl", "{{{", "[]", '{"type":5}', f'{{"type":"user","sessionId":"{MAIN}"}}'
    )
    (source,) = find_transcripts(tmp_path)
    assert source.session_id == MAIN


def test_a_folder_named_subagents_above_changes_nothing(tmp_path: Path) -> None:
    path = _main(tmp_path / "subagents" / "x" / f"{MAIN}.jsonl")
    (source,) = find_transcripts(tmp_path)
    assert source == Source(path=path, session_id=MAIN)


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    _main(outside / f"{OTHER}.jsonl", OTHER)
    inside = tmp_path / "inside"
    _main(inside / f"{MAIN}.jsonl")
    (inside / "folder").symlink_to(outside)
    (inside / "file.jsonl").symlink_to(outside / f"{OTHER}.jsonl")
    (inside / "loop").symlink_to(inside)
    assert [source.session_id for source in find_transcripts(inside)] == [MAIN]


def test_nothing_there_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(
        TranscriptError, match=r"does not exist; give a transcript file or a folder"
    ):
        find_transcripts(tmp_path / "nowhere")


def test_a_file_that_is_no_transcript_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="is no transcript"):
        find_transcripts(_write(tmp_path / "history.jsonl", '{"display":"hi"}'))
