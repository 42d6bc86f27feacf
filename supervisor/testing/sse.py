"""The wire format of the Messages API: messages, their streamed events, errors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import msgspec

from supervisor.testing.scenario import Fault, Reply
from supervisor.testing.usage import Usage

__all__ = ["error_body", "error_of", "message", "stream"]

_JSON = dict[str, object]
_CHUNK = 24

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(status: int, message: str, kind: str | None = None) -> _JSON:
    """The body of an error response."""
    default = "api_error" if status >= 500 else "invalid_request_error"
    kind = kind or _ERROR_TYPES.get(status, default)
    return {"type": "error", "error": {"type": kind, "message": message}}


def error_of(fault: Fault, status: int) -> _JSON:
    """The body of the error that a scenario asks for."""
    message = fault.message or f"The scenario answers {status} here."
    return error_body(status, message, fault.type)


def message(number: int, model: str, reply: Reply, usage: Usage) -> _JSON:
    """The whole message, as a request without streaming gets it."""
    return {
        **_envelope(number, model),
        "content": list(_blocks(number, reply)),
        "stop_reason": _stop_reason(reply),
        "usage": msgspec.to_builtins(usage),
    }


def stream(number: int, model: str, reply: Reply, usage: Usage) -> Iterator[bytes]:
    """The message as server-sent events, in the API's order."""
    for event in _events(number, model, reply, usage):
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _envelope(number: int, model: str) -> _JSON:
    return {
        "id": f"msg_{number:06d}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop_reason(reply: Reply) -> str:
    return "tool_use" if reply.calls else "end_turn"


def _blocks(number: int, reply: Reply) -> Iterator[_JSON]:
    if reply.thinking:
        signature = f"scripted-{number:06d}"
        yield {"type": "thinking", "thinking": reply.thinking, "signature": signature}
    if reply.text:
        yield {"type": "text", "text": reply.text}
    for index, call in enumerate(reply.calls):
        call_id = f"toolu_{number:06d}_{index}"
        yield {"type": "tool_use", "id": call_id, "name": call.tool, "input": call.input}


def _events(number: int, model: str, reply: Reply, usage: Usage) -> Iterator[_JSON]:
    counts: _JSON = msgspec.to_builtins(usage)
    begun = {**_envelope(number, model), "usage": {**counts, "output_tokens": 1}}
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    for index, block in enumerate(_blocks(number, reply)):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": _stop_reason(reply), "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": counts}
    yield {"type": "message_stop"}


def _empty(block: _JSON) -> _JSON:
    match block["type"]:
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "text":
            return {"type": "text", "text": ""}
        case _:
            return {**block, "input": {}}


def _deltas(block: _JSON) -> Iterator[_JSON]:
    match block["type"]:
        case "thinking":
            for chunk in _chunks(str(block["thinking"])):
                yield {"type": "thinking_delta", "thinking": chunk}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "text":
            for chunk in _chunks(str(block["text"])):
                yield {"type": "text_delta", "text": chunk}
        case _:
            for chunk in _chunks(json.dumps(block["input"])):
                yield {"type": "input_json_delta", "partial_json": chunk}


def _chunks(text: str) -> Iterator[str]:
    """Two pieces at least, so that whoever reads only the first one is found out."""
    size = min(_CHUNK, max(1, math.ceil(len(text) / 2)))
    for start in range(0, len(text), size):
        yield text[start : start + size]
