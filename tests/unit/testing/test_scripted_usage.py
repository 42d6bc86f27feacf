"""The token counts of the scripted model."""

from __future__ import annotations

import json
from collections.abc import Sequence

from supervisor.testing.request import Request, decode
from supervisor.testing.scenario import Reply
from supervisor.testing.usage import PromptCache, Usage, estimate_input

REPLY = Reply.model_validate({"name": "r", "text": "eight ch"})
MARK = {"type": "ephemeral"}


def request(*texts: str, marked: Sequence[int] = ()) -> Request:
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": text, "cache_control": MARK}]
            if index in marked
            else text,
        }
        for index, text in enumerate(texts)
    ]
    return decode(json.dumps({"model": "m", "messages": messages}).encode())


def total(usage: Usage) -> int:
    return usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens


def test_without_cache_marks_every_token_is_fresh_input() -> None:
    asked = request("a" * 400)

    usage = PromptCache().usage(asked, REPLY)

    assert usage == Usage(input_tokens=estimate_input(asked), output_tokens=2)
    assert 100 <= usage.input_tokens <= 120


def test_a_prefix_that_was_sent_before_is_read_from_the_cache() -> None:
    cache = PromptCache()
    first = cache.usage(request("a" * 400, "b" * 400, marked=[1]), REPLY)
    second = cache.usage(request("a" * 400, "b" * 400, "c" * 400, marked=[2]), REPLY)

    assert first.cache_read_input_tokens == 0
    assert first.cache_creation_input_tokens >= 200
    assert abs(second.cache_read_input_tokens - first.cache_creation_input_tokens) <= 1
    assert 100 <= second.cache_creation_input_tokens < 120


def test_a_fork_reads_the_shared_prefix_only() -> None:
    cache = PromptCache()
    cache.usage(request("a" * 400, "b" * 400, marked=[1]), REPLY)
    forked = cache.usage(request("a" * 400, "x" * 400, marked=[1]), REPLY)

    assert 100 <= forked.cache_read_input_tokens < 120
    assert 100 <= forked.cache_creation_input_tokens < 120


def test_what_follows_the_last_mark_is_fresh_input() -> None:
    usage = PromptCache().usage(request("a" * 400, "b" * 400, marked=[0]), REPLY)

    assert usage.cache_creation_input_tokens < 120
    assert 100 <= usage.input_tokens < 120


def test_a_longer_context_costs_more() -> None:
    cache = PromptCache()
    short = cache.usage(request("a" * 400, marked=[0]), REPLY)
    long = cache.usage(request("a" * 400, "b" * 40, marked=[1]), REPLY)

    assert total(long) > total(short)


def test_a_scenario_may_set_counts_itself() -> None:
    reply = Reply.model_validate({"name": "r", "text": "x", "usage": {"input_tokens": 190_000}})

    usage = PromptCache().usage(request("hi"), reply)

    assert (usage.input_tokens, usage.output_tokens) == (190_000, 1)
