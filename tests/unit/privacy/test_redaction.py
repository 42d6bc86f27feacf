"""Secrets are taken out of whatever form they come in, and nothing else is."""

from __future__ import annotations

import gzip
import json
import re
import string
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from detect_secrets.plugins import (
    aws,
    azure_storage_key,
    github_token,
    gitlab_token,
    openai,
    pypi_token,
    sendgrid,
    stripe,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supervisor.privacy.redaction import Redactor

REDACT = Redactor()
_MIXED = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7" * 4


def _drawn(length: int) -> str:
    """Characters as a token has them. Put together here, so that no scanner takes them for
    a real one."""
    return _MIXED[:length]


_HEX = "0123456789abcdef" * 4
TOKENS = {
    "anthropic-key": "sk-ant-" + "api03-" + _drawn(40),
    "openai-key": "sk-" + "proj-" + _drawn(40),
    "aws-key": "AKIA" + "IOSFODNN7EXAMPLE",
    "github-token": "ghp_" + _drawn(36),
    "gitlab-token": "glpat-" + _drawn(20),
    "google-key": "AIza" + _drawn(35),
    "slack-token": "xoxb-" + "123456789012-123456789012-" + _drawn(24),
    "telegram-token": "123456789:AA" + _drawn(33),
    "stripe-key": "sk_live_" + _drawn(24),
    "square-token": "sq0csp-" + _drawn(43),
    "shopify-token": "shpat_" + _HEX[:32],
    "twilio-key": "SK" + _HEX[:32],
    "sendgrid-key": "SG." + _drawn(22) + "." + _drawn(43),
    "mailchimp-key": _HEX[:32] + "-us12",
    "mailgun-key": "key-" + _HEX[:32],
    "package-token": "npm_" + _drawn(36),
    "model-hub-token": "hf_" + _drawn(34),
    "cloud-token": "dop_v1_" + _HEX[:64],
    "observability-token": "glsa_" + _drawn(40),
    "discord-token": "M" + _drawn(23) + "." + _drawn(6) + "." + _drawn(27),
    "artifactory-token": "AKC" + _drawn(40),
    "azure-key": "AccountKey=" + _drawn(86) + "==",
    "jwt": "eyJ" + _drawn(17) + ".eyJ" + _drawn(30) + "." + _drawn(43),
    "private-key": f"-----BEGIN RSA {'PRIVATE'} KEY-----\nMII{_drawn(60)}\n{_drawn(64)}\n"
    f"-----END RSA {'PRIVATE'} KEY-----",
    "lucid-key": "lucid-key-" + _drawn(48),
}
PLACES: dict[str, Callable[[str], str]] = {
    "alone": lambda token: token,
    "in a line": lambda token: f"use {token} for this",
    "behind a line end": lambda token: f"one\n{token}\ntwo",
    "behind a tab": lambda token: f"one\t{token}",
    "in colour": lambda token: f"\x1b[32m{token}\x1b[0m",
    "quoted": lambda token: f'key = "{token}"',
    "as an argument": lambda token: f"curl -H 'X-Key: {token}' http://localhost",
    "in JSON": lambda token: json.dumps({"output": f"one\n{token}\n"}),
    "in JSON in JSON": lambda token: json.dumps(json.dumps({"output": f"one\n{token}\n"})),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_is_known_by_its_form_wherever_it_stands(kind: str, place: str) -> None:
    text = PLACES[place](TOKENS[kind])

    assert f"[redacted:{kind}]" in REDACT.text(text)
    raw = REDACT.json(json.dumps({"text": text}).encode())
    assert f"[redacted:{kind}]" in json.loads(raw)["text"]
    for piece in TOKENS[kind].split("\n"):
        assert piece not in REDACT.text(text)


NAMED = [
    'password = "correct horse battery"',
    "'db_password': 'hunter2'",
    '{"client_secret": "hunter2"}',
    '{\\"api_key\\": \\"hunter2\\"}',
    "export PGPASSWORD=hunter2",
    "MYSQL_ROOT_PASSWORD=hunter2",
    "AWS_SECRET_ACCESS_KEY=hunter2/hunter2",
    "SLACK_BOT_TOKEN=hunter2",
    "password: tr0ub4dor&hunter2",
    "--password tr0ub4dor-hunter2",
    '["--token", "tr0ub4dor-hunter2"]',
    '"token": "hunter2hunter2hunter2"',
    "Authorization: Basic aHVudGVyOmh1bnRlcg==hunter2",
    "authorization: Bearer abcdefghijkl0hunter2",
    '"Authorization": "token abcdefghijkl0hunter2"',
    "//packages.example/:_authToken=0123456789abcdefhunter2",
    "Cookie: session=hunter2; theme=dark",
    "postgresql://lucid:hunter2@db/lucid",
    "https://hunter:hunter2@example.com/repo.git",
    "curl -u admin:hunter2 http://localhost",
    "machine example.com login me password hunter2hunter2",
    "https://x.example/?sig=abcdefghijkl0hunter2",
    "redis://:hunter2@cache:6379",
    "postgresql://lucid:s3cret@hunter2@db/lucid",
    "http://127.0.0.1:7311/hooks/abcdefghijkl0hunter2",
]


@pytest.mark.parametrize("text", NAMED)
def test_a_value_is_known_by_what_it_is_called(text: str) -> None:
    assert "hunter2" not in REDACT.text(text)
    assert "[redacted:" in REDACT.text(text)
    raw = REDACT.json(json.dumps({"text": f"\n{text}\n"}).encode())
    assert "hunter2" not in json.loads(raw)["text"]


HARMLESS = [
    "a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d",
    "commit 3f785c1e0ba0d3ad2d9e2e0e1a0a5f9f0f0e6b2c",
    "sha256:" + _HEX,
    '"integrity": "sha512-' + _drawn(86) + '=="',
    '{"input_tokens": 12345, "cache_read_input_tokens": 67890, "token": 12}',
    "max_tokens=4096, tokenizer='gpt2'",
    "def login(password: str, api_key: str | None = None) -> Token:",
    "password = getpass.getpass()",
    "api_key = os.environ['API_KEY']",
    "secret = self.settings.client_secret_v2",
    'password = ""',
    "DB_PASSWORD=$DB_PASSWORD",
    "API_KEY=${API_KEY:-}",
    'password: "<your password>"',
    '"secret_env": "LUCID_WEBHOOK_SECRET"',
    "secret_env: PAGER_SECRET_2",
    "Two-pass processing: the password requirements?",
    "see https://example.com:8080/path@v1 and git@github.com:owner/repo.git",
    "https://example.com/hooks/useSomethingWithALongName",
    "toolu_01A09q90qw90lq917835lq9, msg_01XFDUDYJgAACzvnptvVoYEL, req_011CSHoEeqs5C35K2UUqR7Fy",
    "std::unordered_map<Token, Key> keys; bearer of news; cookie: yes",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA/AKCQAAAA5/AP5tvG4HdHCb5ZIPRuvcYy7te",
    '{"type": "password", "name": "password"}',
    "PWD=/home/me/project",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert REDACT.text(text) is text
    raw = json.dumps({"text": text}).encode()
    assert REDACT.json(raw) is raw


def test_a_password_may_hold_any_letter() -> None:
    raw = REDACT.json(json.dumps({"password": "pässword-\u4e2d\\hunter2"}).encode())
    assert json.loads(raw) == {"password": "[redacted:secret]"}


def test_one_that_is_off_changes_nothing() -> None:
    text = TOKENS["github-token"]
    assert Redactor(on=False).text(text) is text
    assert Redactor(on=False).json(text.encode()) == text.encode()


_PLUGINS = (
    aws.AWSKeyDetector.denylist[0],
    azure_storage_key.AzureStorageKeyDetector.denylist[0],
    github_token.GitHubTokenDetector.denylist[0],
    *gitlab_token.GitLabTokenDetector.denylist[:3],
    *openai.OpenAIDetector.denylist,
    *pypi_token.PypiTokenDetector.denylist,
    *sendgrid.SendGridDetector.denylist,
    *stripe.StripeDetector.denylist,
)


@pytest.mark.parametrize("form", _PLUGINS, ids=lambda form: form.pattern[:24])
@settings(max_examples=20)
@given(data=st.data())
def test_what_detect_secrets_finds_is_found(form: re.Pattern[str], data: st.DataObject) -> None:
    token = data.draw(st.from_regex(form, fullmatch=True, alphabet=string.printable))
    assert token not in REDACT.text(f"x = {token}")


_PIECES = st.sampled_from(
    [
        *TOKENS.values(),
        *NAMED,
        *("password", "token", "secret", "=", ": ", '"', "'", "\\", "\n", "\\n", "[redacted:", "]"),
        *("np", "m_" + _drawn(36), "n" + TOKENS["package-token"], "\u00e9", "\ud800", "://a:b@"),
    ]
)
_TEXTS = st.lists(_PIECES | st.text(max_size=6), max_size=8).map("".join)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return [_shape(inner) for inner in value.values()]
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return "text" if isinstance(value, str) else value


@given(_JSON, st.booleans())
@example("\\" + TOKENS["package-token"], False)
@example("\\\n" + TOKENS["package-token"][1:], False)
@example({"password=": None, "authorization": 1234567890123456, "--token=": [1e100]}, True)
@example("\x07" + TOKENS["telegram-token"], True)
def test_json_stays_json_of_the_same_shape(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    redacted = json.loads(REDACT.json(text.encode(errors="surrogatepass")))

    flat = json.dumps(_shape(redacted))
    assert flat == json.dumps(_shape(value)) or _has_equal_keys(redacted)


def _has_equal_keys(value: object) -> bool:
    """Two names that were secrets have become one."""
    return "[redacted:" in json.dumps(value)


@given(_TEXTS)
def test_redacting_again_changes_nothing(text: str) -> None:
    once = REDACT.text(text)
    assert REDACT.text(once) == once


@given(st.text(string.hexdigits, min_size=7, max_size=128), st.text("g \n:\"'=/", max_size=2))
def test_hashes_stay(digits: str, around: str) -> None:
    text = f"{around}{digits}{around}"
    assert REDACT.text(text) is text


def test_uuids_stay() -> None:
    text = "\n".join(f"{name}={uuid4()}" for name in ("id", "session_id", "parentUuid", "key"))
    assert REDACT.text(text) is text


@pytest.mark.parametrize(
    "piece",
    ["password=", 'password="', "://a:", "AKIA", "eyJa", "sk-", "token: ", "a", "\\", "Cookie: "],
)
def test_what_is_long_takes_time_in_proportion(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    REDACT.text(text)
    assert time.process_time() - began < 2.0


_IDENTITY = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{40}\b|(?:toolu|msg|req)_\w+")


def test_real_transcripts_are_hardly_touched(corpora: Path) -> None:
    """In all 20,680 lines, the 23 that change hold a key in a program's source."""
    lines = [
        line
        for path in sorted((corpora / "claude").glob("*.jsonl.gz"))[::4]
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    changed = [(line, new) for line in lines if (new := REDACT.json(line)) is not line]

    assert len(changed) <= len(lines) / 500
    assert all(_IDENTITY.findall(new) == _IDENTITY.findall(old) for old, new in changed)
