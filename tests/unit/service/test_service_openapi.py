"""The published document: in step with the code, and sound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.service.openapi import openapi, text
from supervisor.service.operations import OPERATIONS
from tests.unit.service.conftest import Running

ROOT = Path(__file__).resolve().parents[3]


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from nodes(inner)


def test_the_committed_document_is_the_codes() -> None:
    committed = (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")
    assert committed == text(), "run: python -m supervisor.service.openapi > docs/openapi.json"


def test_every_reference_leads_somewhere() -> None:
    document = openapi()
    for node in nodes(document):
        if "$ref" in node:
            name = node["$ref"].removeprefix("#/components/schemas/")
            assert name in document["components"]["schemas"]


def test_every_operation_has_a_name_of_its_own_and_says_what_it_takes_from_the_path() -> None:
    names = [op.handle.__name__ for op in OPERATIONS]
    assert len(set(names)) == len(names)
    for op in OPERATIONS:
        inside = {part[1:-1] for part in op.path.split("/") if part.startswith("{")}
        assert inside == {p.name for p in op.parameters if p.place == "path"}


def test_only_health_is_open() -> None:
    document = openapi()
    opened = [
        path
        for path, methods in document["paths"].items()
        for said in methods.values()
        if said.get("security") == []
    ]
    assert opened == ["/healthz", "/readyz"]


def test_every_schema_is_described() -> None:
    schemas = openapi()["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not schema.get("description")] == []


def test_the_page_on_the_api_names_every_path() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [op.path for op in OPERATIONS if f"`{op.path}`" not in page] == []


@pytest.mark.anyio
async def test_the_service_serves_it(running: Running) -> None:
    status, served = await running.get("/api/v1/openapi.json")
    assert (status, served) == (200, json.loads(text()))
