"""Pages by key, not by offset: the last page of a long list is as quick as the first, and rows do not shift."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet
from django.http import QueryDict


@dataclass(frozen=True)
class KeysetPage:
    """`previous_url` and `next_url` are query strings that keep the other parameters, or "" where nothing is."""

    items: list[Any]
    previous_url: str
    next_url: str

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def keyset(
    rows: QuerySet[Any], params: QueryDict, *, key: str = "pk", size: int = 20, ascending: bool = False
) -> KeysetPage:
    """The page of `rows` that `?before=KEY` (lower keys) or `?after=KEY` (higher keys) asks for; one query."""
    before, after = _number(params.get("before")), _number(params.get("after"))
    if before is not None:
        found = list(rows.filter(**{f"{key}__lt": before}).order_by(f"-{key}")[: size + 1])
    elif after is not None:
        found = list(rows.filter(**{f"{key}__gt": after}).order_by(key)[: size + 1])
    else:
        found = list(rows.order_by(key if ascending else f"-{key}")[: size + 1])
    more, items = len(found) > size, found[:size]
    upwards = after is not None if before is None and after is not None else before is None and ascending
    if upwards != ascending:
        items.reverse()
    if not items:
        return KeysetPage([], _query(params) if before is not None or after is not None else "", "")
    first, last = _key(items[0], key), _key(items[-1], key)
    forward, backward = ("after", "before") if ascending else ("before", "after")
    asked = "before" if before is not None else "after" if after is not None else ""
    has_next = more if asked in ("", forward) else True
    has_previous = bool(asked) if asked != backward else more
    return KeysetPage(
        items,
        _query(params, backward, first) if has_previous else "",
        _query(params, forward, last) if has_next else "",
    )


def _key(row: Model, key: str) -> int:
    return int(getattr(row, key))


def _number(text: str | None) -> int | None:
    """The key in the URL; anything that is no row's key counts as absent."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 18 else None


def _query(params: QueryDict, name: str = "", value: int = 0) -> str:
    query = params.copy()
    for old in ("before", "after"):
        query.pop(old, None)
    if name:
        query[name] = str(value)
    return f"?{query.urlencode()}"
