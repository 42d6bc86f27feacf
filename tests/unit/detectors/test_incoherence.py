"""`detectors.incoherence`: what its fixtures cannot show."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.incoherence import Incoherence, IncoherenceConfig
from detectors.incoherence.degeneration import degenerate, prose
from detectors.incoherence.language import foreign_script, language_of, scripts_in
from supervisor.core.entry import Entry, Prompt, Text, ToolCall, ToolResult
from supervisor.testing.fixtures import deep_size, verdicts_of, workload

PLACE = {"session_id": "s", "transcript": "t"}
RUSSIAN = "Сейчас я исправлю ошибку в разборе дат, затем снова запущу все тесты проекта."


def texts(*said: str) -> list[Entry]:
    return [
        Text(**PLACE, seq=seq, text=text, message_id=f"m{seq}") for seq, text in enumerate(said, 2)
    ]


SETTLED = texts(*(f"I will look at part {n} of the parser before the others." for n in range(3)))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The file is not in the folder that you gave, and this is why.", "English"),
        ("Die Datei ist nicht da und ich werde das mit dem Test prüfen.", "German"),
        ("El archivo no está en la carpeta y por eso la prueba es una más.", "Spanish"),
        ("Le fichier est dans le dossier et les tests sont pour que vous", "French"),
        ("O arquivo não está na pasta e os testes que foi são para uma", "Portuguese"),
        ("Het bestand is niet in de map en de test is op een plek voor", "Dutch"),
        ("Il file non è nella cartella e gli test sono per una che di più", "Italian"),
        ("fn main() { let mut x = 1; x += 2; println!(x); }", None),
        ("", None),
    ],
)
def test_a_language_is_told_by_its_commonest_words(text: str, language: str | None) -> None:
    assert language_of(text) == language


def test_scripts_are_told_by_their_letters_only() -> None:
    assert scripts_in("a → b │ ✓ 100 % — “so”") == frozenset()
    assert scripts_in("naïve Größe") == frozenset()
    assert scripts_in("Ошибка 错误") == {"Cyrillic", "Han"}


def test_a_foreign_word_in_a_text_is_no_foreign_text() -> None:
    assert foreign_script("The user's name is Дмитрий, as the log says.", frozenset()) is None


def test_a_script_that_a_tool_result_holds_may_be_written() -> None:
    shown = ToolResult(**PLACE, seq=1, call_id="c", text="Ошибка: файл не найден")
    last = Text(**PLACE, seq=9, text=RUSSIAN)
    assert verdicts_of(Incoherence(), [shown, *SETTLED, last]) == []
    assert len(verdicts_of(Incoherence(), [*SETTLED, last])) == 1


def test_an_agent_that_writes_another_language_from_the_start_is_set_to_it() -> None:
    ask = Prompt(**PLACE, seq=1, text="Fix the parser.")
    assert verdicts_of(Incoherence(), [ask, *texts(RUSSIAN, RUSSIAN, RUSSIAN, RUSSIAN)]) == []


def test_languages_can_be_switched_off() -> None:
    quiet = Incoherence(IncoherenceConfig(languages=False))
    assert verdicts_of(quiet, [*SETTLED, Text(**PLACE, seq=9, text=RUSSIAN)]) == []


def test_code_and_tables_are_no_prose() -> None:
    assert prose("a\n```\ncode\n```\nb").split() == ["a", "b"]
    assert prose("a\n| x | y |\n| 1 | 2 |\nb") == "a\nb"


def test_a_megabyte_is_judged_by_its_edges() -> None:
    assert degenerate(prose("again " * 200_000)) is not None
    assert len(prose("x" * 1_000_000)) < 5_000


def test_replacement_characters_are_garbage() -> None:
    assert degenerate("The result is " + "\ufffd" * 30 + " as you can see for yourself." * 4)


def test_arguments_may_mention_an_error_where_no_path_is_expected() -> None:
    raw = msgspec.Raw(msgspec.json.encode({"content": "<tool_use_error>", "file_path": "/a"}))
    call = ToolCall(**PLACE, seq=1, call_id="c", tool="Write", input=raw)
    assert verdicts_of(Incoherence(), [call]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=300), max_size=8))
def test_any_text_can_be_judged(said: list[str]) -> None:
    for verdict in verdicts_of(Incoherence(), texts(*said)):
        assert verdict.summary.isprintable()


def test_a_long_session_takes_less_than_4_kib() -> None:
    detector = Incoherence()
    for entry in workload(20_000):
        tuple(detector.observe(entry))
    assert deep_size(detector) < 4 * 1024
