"""Elements of a page. Text reaches it as text only: it is escaped when the page is
written, so nothing that a trace holds can become markup."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, tostring

__all__ = ["Child", "append", "document", "document_text", "link", "node", "table"]

Child = Element | str

_NO_NETWORK = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is loaded and no script runs, whatever a trace holds."""


def node(tag: str, *children: Child, **attributes: str | float) -> Element:
    """An element; `class_` is written as `class`, `stroke_width` as `stroke-width`.

    >>> document_text(node("p", "a < b ", node("b", "&"), class_="x"))
    '<p class="x">a &lt; b <b>&amp;</b></p>'
    """
    names = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    element = Element(tag, {name: _written(value) for name, value in names.items()})
    append(element, *children)
    return element


def append(parent: Element, *children: Child) -> None:
    """Add children after those that are there."""
    for child in children:
        if isinstance(child, Element):
            parent.append(child)
        elif len(parent):
            parent[-1].tail = (parent[-1].tail or "") + child
        else:
            parent.text = (parent.text or "") + child


def _written(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def link(target: str, text: str) -> Element:
    """To an element of the same page, by its id."""
    return node("a", text, href=f"#{target}")


def table(headings: Sequence[str], rows: Sequence[Sequence[Child]], left: int = 1) -> Element:
    """A table; all columns but the first `left` ones hold figures."""
    head = node("tr", *(_cell("th", name, place, left) for place, name in enumerate(headings)))
    body = [
        node("tr", *(_cell("td", cell, place, left) for place, cell in enumerate(row)))
        for row in rows
    ]
    return node("table", node("thead", head), node("tbody", *body))


def _cell(tag: str, content: Child, place: int, left: int) -> Element:
    return node(tag, content) if place < left else node(tag, content, class_="figure")


def document_text(root: Element) -> str:
    """An element as HTML."""
    return tostring(root, encoding="unicode", method="html")


def document(title: str, style: str, *body: Child) -> str:
    """A whole page that loads nothing."""
    head = node(
        "head",
        node("meta", charset="utf-8"),
        node("meta", http_equiv="Content-Security-Policy", content=_NO_NETWORK),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        node("title", title),
        node("style", style),
    )
    return "<!doctype html>\n" + document_text(node("html", head, node("body", *body), lang="en"))
