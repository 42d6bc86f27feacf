"""What secrets look like: tokens known by their form, and values known by their name.

All patterns are RE2's, so that any input takes time in proportion to its length. They are
matched against UTF-8, as text or inside of JSON, however often it is quoted: before a token
may stand an escaped line end, and around a value quotes with backslashes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["LEADS", "NAMES", "SHORT_TOKENS", "TOKENS", "WORD_BEGINS", "Lead"]

TOKENS: tuple[tuple[str, bytes], ...] = (
    (
        "private-key",
        rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        rb"(?:[A-Za-z0-9+/=:,.()\s-]|\\+[nrt])*"
        rb"|PuTTY-User-Key-File-[0-9]: [^\"'\\]*"
        rb"|AGE-SECRET-KEY-1[0-9A-Z]{50,}",
    ),
    ("jwt", rb"eyJ[\w-]{8,}={0,2}\.eyJ[\w-]{8,}={0,2}(?:\.[\w-]*){0,3}"),
    ("anthropic-key", rb"sk-ant-[\w-]{16,}"),
    (
        "openai-key",
        rb"sk-(?:proj|svcacct|admin|or-v1|None)-[\w-]{16,}"
        rb"|sk-[\w-]*[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20,}",
    ),
    ("aws-key", rb"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}"),
    ("github-token", rb"gh[pousr]_\w{36,}|github_pat_\w{22,}"),
    (
        "gitlab-token",
        rb"gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas|ffct|wt)-[\w.-]{20,}"
        rb"|GR1348941[\w-]{20,}",
    ),
    (
        "google-key",
        rb"AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}",
    ),
    (
        "slack-token",
        rb"(?i:xox[a-z](?:\.xox[a-z])?-[0-9a-z-]{10,}|xapp-[0-9]-[0-9a-z-]{10,}"
        rb"|https://hooks\.slack\.com/(?:services|workflows|triggers)/[\w/]+)",
    ),
    ("discord-token", rb"https://discord(?:app)?\.com/api/webhooks/[0-9]+/[\w-]+"),
    ("telegram-token", rb"[0-9]{8,10}:AA[\w-]{33}"),
    ("stripe-key", rb"[rs]k_(?:live|test)_[0-9A-Za-z]{16,}|whsec_[\w+/=]{24,}"),
    ("square-token", rb"sq0[a-z]{3}-[\w-]{22,}"),
    ("shopify-token", rb"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("sendgrid-key", rb"SG\.[\w-]{16,32}\.[\w-]{32,64}"),
    (
        "package-token",
        rb"npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,}|rubygems_[0-9a-f]{48}|dckr_(?:pat|oat)_[\w-]{20,}",
    ),
    (
        "model-hub-token",
        rb"hf_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{40,}"
        rb"|pplx-[A-Za-z0-9]{40,}|nvapi-[\w-]{40,}|tvly-[A-Za-z0-9-]{20,}",
    ),
    (
        "cloud-token",
        rb"do[opr]_v1_[0-9a-f]{64}|dapi[0-9a-f]{32}|dp\.(?:pt|st|ct|sa)\.[\w.-]{40,}"
        rb"|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,}|tskey-[a-z]+-[A-Za-z0-9-]{16,}"
        rb"|FlyV1 [\w+/=,-]{40,}|pscale_(?:tkn|pw|oauth)_[\w.-]{32,}|sbp_[0-9a-f]{40}"
        rb"|PMAK-[0-9a-f]{24}-[0-9a-f]{34}",
    ),
    (
        "observability-token",
        rb"gl(?:c|sa)_[\w+/=]{32,}|sntry[su]_[\w+/=]{40,}|NRAK-[A-Z0-9]{27}"
        rb"|lin_(?:api|oauth)_[A-Za-z0-9]{32,}",
    ),
    ("azure-key", rb"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/=]{40,}"),
    ("lucid-key", rb"lucid-key-[\w-]{32,}"),
)
"""Kinds, and what is a secret wherever it stands. What `detect-secrets` 1.5 finds by its form,
and as a whole, with the tokens that have come since."""

SHORT_TOKENS: tuple[tuple[str, bytes], ...] = (
    ("openai-key", rb"sk-[A-Za-z0-9]{32,}"),
    ("google-key", rb"1//0[\w-]{40,}"),
    ("discord-token", rb"[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27,}"),
    ("twilio-key", rb"(?:AC|SK)[0-9a-f]{32}\b"),
    ("mailchimp-key", rb"[0-9a-f]{32}-us[0-9]{1,2}\b"),
    ("mailgun-key", rb"key-[0-9a-f]{32}\b"),
    ("package-token", rb"cio[A-Za-z0-9]{32}\b|oy2[a-z0-9]{43}\b"),
    ("artifactory-token", rb"AKC[A-Za-z0-9]{10,}|cmVmdGtu[A-Za-z0-9]{56,}"),
    ("model-hub-token", rb"r8_[A-Za-z0-9]{37,}"),
    ("cloud-token", rb"hv[sbr]\.[\w-]{20,}|LTAI[A-Za-z0-9]{17,}\b"),
    ("observability-token", rb"ntn_[A-Za-z0-9]{40,}"),
)
"""The same for forms so plain that they are told only where a word begins."""

WORD_BEGINS = rb"(?:^|[^\w+/\]]|\\+[nrtbf]|\[[0-9;]*m)"
"""Also behind an escaped line end, or a terminal's colour; not in the midst of base64."""


class Lead(NamedTuple):
    """What stands before a secret, and what in that place is one."""

    kind: str
    pattern: re.Pattern[bytes]
    """From one of `NAMES` on; its repetitions are bounded."""
    value: re.Pattern[bytes]
    """One repetition of characters, so that it takes linear time as well."""
    is_secret: Callable[[bytes], bool]
    """Told from the first characters."""


_PLACEHOLDER = re.compile(
    rb"[$<{%(\[]|\*{3}|\.{3}|x{3,}|your|example|placeholder|redacted|changeme$"
    rb"|(?:null|none|true|false|undefined|string|str|bytes|password|secret|required|optional)$"
    rb"|(?-i:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$)",  # the name of a variable that holds it
    re.IGNORECASE,
)
_EXPRESSION = re.compile(rb"[A-Za-z_]\w*(?:[.(\[]|::|->)|[~.]{0,2}/")
"""Or a path."""
_BEHIND_A_QUOTE = re.compile(rb"[\s+),:;.\]}]")
"""What follows where a quote was a closing one."""
_LETTER = re.compile(rb"[A-Za-z]")
_OTHER = re.compile(rb"[^A-Za-z._-]")
_DIGIT = re.compile(rb"[0-9]")


def _is_given(value: bytes) -> bool:
    """A value that is none to be filled in."""
    return len(value) >= 4 and not _PLACEHOLDER.match(value)


def _is_quoted(value: bytes) -> bool:
    return _is_given(value) and not _BEHIND_A_QUOTE.match(value)


def _is_mixed(value: bytes) -> bool:
    """A value that is no word, no number and no expression."""
    if len(value) < 8 or not _is_quoted(value) or _EXPRESSION.match(value):
        return False
    word = value.rstrip(b"?!:,.")
    return bool(_LETTER.search(word) and _OTHER.search(word))


def _is_credential(value: bytes) -> bool:
    return len(value) >= 16 and _is_quoted(value) and bool(_DIGIT.search(value))


def _is_basic(value: bytes) -> bool:
    return len(value) >= 12 and _is_given(value)


def _is_cookie(value: bytes) -> bool:
    return b"=" in value and _is_quoted(value)


_ESCAPED = rb"|\\\\(?![nrtbfu\"'`\\\s])|\\u[0-9a-fA-F]{4}"
"""A backslash in a value, or what is no ASCII, as JSON has it."""
_QUOTED = re.compile(rb"(?:[^\"'`\\\r\n]" + _ESCAPED + rb")+")
_BARE = re.compile(rb"(?:[^\s\"'`\\,;)}\]]" + _ESCAPED + rb")+")
_WORD = re.compile(rb"(?:[^\s\"'`\\]" + _ESCAPED + rb")+")
_CREDENTIAL = re.compile(rb"[A-Za-z0-9._~%+/=-]+")
_REST_OF_LINE = re.compile(rb"[^\r\n\"'\\]+")
_IN_ADDRESS = re.compile(rb"[^\s/\"'`\\<>]+(?=@)")
"""Up to the last of several `@`, of which some belong to the password."""

_SECRET = (
    rb"pass(?:word|wd|phrase)|pwd|secret|credentials?"
    rb"|(?:api|auth|access|secret|private|account|service|signing|encryption|master|db|client"
    rb"|admin)[_-]?(?:key|pass(?:word|wd|phrase)?)"
    rb"|(?:access|auth|api|refresh|bearer|session|secret|bot|deploy|private|personal|user"
    rb"|service|github|gitlab|slack|npm|webhook|client)[_-]?token"
)
NAMES = (
    rb"(?i:" + _SECRET + rb"|token|_pass|_key_base|authorization|bearer|_auth|\"auth\b|cookie|://"
    rb"|-u[ =]|--user[ =]|[?&;](?:sig|signature|auth|x-amz-signature|x-amz-credential)=)"
)
"""With what each `Lead` begins."""

_TAIL = rb"(?:[_-]?(?:[0-9]{1,3}|value|base64|b64|prod|dev|test|old|new))?"
_QUOTE = rb"\\{0,8}[\"'`]"
_IS = rb"\]?[ \t]{0,4}(?::=|=>|::|==|!=|[:=])[ \t]{0,4}"
_TO = rb"(?:" + _QUOTE + _IS + _QUOTE + rb"|" + _IS + rb"(?:" + _QUOTE + rb")?)"
"""Between a name and its value. Where the name is quoted the value is, or it is a number."""


def _lead(
    kind: str, pattern: bytes, value: re.Pattern[bytes], is_secret: Callable[[bytes], bool]
) -> Lead:
    return Lead(kind, re.compile(pattern), value, is_secret)


LEADS: tuple[Lead, ...] = (
    # password = "...", {"password": "..."}
    _lead(
        "secret",
        rb"(?i:" + _SECRET + rb")(?i:" + _TAIL + rb")(?:" + _QUOTE + rb")?" + _IS + rb"@?" + _QUOTE,
        _QUOTED,
        _is_quoted,
    ),
    # DB_PASSWORD=...
    _lead(
        "secret",
        rb"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|(?:API|ACCESS|SECRET|PRIVATE)_?KEY"
        rb"|(?:(?:ACCESS|AUTH|API|BOT|GITHUB|SLACK|NPM|SECRET)_)?TOKEN|_PASS|PWD|_KEY_BASE)"
        + _TAIL
        + rb"=",
        _WORD,
        lambda value: _is_given(value) and not _EXPRESSION.match(value),
    ),
    # password: ...
    _lead("secret", rb"(?i:" + _SECRET + rb")(?i:" + _TAIL + rb")" + _IS, _BARE, _is_mixed),
    # "token": "..."
    _lead(
        "secret",
        rb"(?i:token)(?:" + _QUOTE + rb")?" + _IS + _QUOTE,
        _QUOTED,
        _is_credential,
    ),
    # --password ..., ["--password", "..."]
    _lead(
        "secret",
        rb"(?<=-)(?:password|passwd|passphrase|token|secret|api-?key|auth-token|access-token)"
        rb"(?:[= ]|" + _QUOTE + rb",\s{0,4}" + _QUOTE + rb")(?:" + _QUOTE + rb")?",
        _WORD,
        _is_mixed,
    ),
    # Authorization: Basic ...
    _lead(
        "authorization",
        rb"(?i:authorization)"
        + _TO
        + rb"(?i:(?:bearer|basic|token|digest|apikey|negotiate)[ ]{1,4})",
        _CREDENTIAL,
        _is_basic,
    ),
    _lead(
        "authorization",
        rb"(?i:authorization)" + _TO,
        _CREDENTIAL,
        _is_credential,
    ),
    _lead("authorization", rb"(?i:bearer)[ ]{1,4}", _CREDENTIAL, _is_credential),
    # _authToken=... of package managers, "auth": "..." of image registries
    _lead(
        "authorization",
        rb"(?:_auth(?:Token)?|\"auth)" + _TO,
        _CREDENTIAL,
        _is_credential,
    ),
    _lead(
        "cookie",
        rb"(?i:cookie)(?:" + _QUOTE + rb":[ ]?" + _QUOTE + rb"|:[ ]?(?:" + _QUOTE + rb")?)",
        _REST_OF_LINE,
        _is_cookie,
    ),
    # https://user:...@host
    _lead("password", rb"://[^\s/:@\"'`\\]{0,64}:", _IN_ADDRESS, _is_given),
    # http://127.0.0.1:7311/hooks/..., as this service has it, and others
    _lead("secret", rb"://[^\s/\"'`\\]{1,128}/hooks/", _CREDENTIAL, _is_credential),
    # curl -u user:...
    _lead(
        "password",
        rb"(?:(?<=\s)-u|--user)[= ](?:" + _QUOTE + rb")?[\w.@-]{1,64}:",
        _WORD,
        _is_given,
    ),
    # machine ... password ...
    _lead("password", rb"password[ ]{1,4}(?=\S*[0-9])", _WORD, _is_mixed),
    # ?token=...&sig=...
    _lead(
        "secret",
        rb"(?:(?<=[?&;])|[?&;])(?i:access_token|token|api_?key|sig|signature|secret|password|auth"
        rb"|x-amz-(?:signature|credential))=",
        _CREDENTIAL,
        _is_credential,
    ),
)
"""What is a secret because of what stands before it, the plainest first."""
