"""HTML as values: every text is escaped because only elements are not."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

VOID = {"br", "col", "hr", "input", "link", "meta"}


class Markup(str):
    """Text that is HTML already; only `tag`, `join` and figures make it."""

    __slots__ = ()


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """One element.

    Args:
        name: element name.
        children: Markup goes in as it is, None and "" not at all, iterables one by one, everything else escaped.
        attributes: `class_` and `for_` lose their underscore, others turn it to a hyphen; True is a bare attribute,
            None and False leave it out.
    """
    opening = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{join(children)}</{name}>")


def join(children: Any) -> Markup:
    """Children one after the other, texts escaped."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(html.escape(children))
    if isinstance(children, Iterable):
        return Markup("".join(join(child) for child in children))
    return Markup(html.escape(str(children)))
