"""Keyset pages: the next page starts after the last key seen, so that page 1000 costs what page 1 costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

M = TypeVar("M", bound=Model)


class KeysetPage(Generic[M]):
    """One page of `queryset`, newest (highest id) first, as the request's `before` or `after` asks.

    `older` and `newer` are the query strings of the neighbouring pages, other filters kept, or "" at the end.
    """

    def __init__(self, queryset: QuerySet[M, Any], request: HttpRequest, *, size: int = 20) -> None:
        before, after = _key(request, "before"), _key(request, "after")
        if after is not None:
            rows = list(queryset.filter(pk__gt=after).order_by("pk")[: size + 1])
            has_newer, has_older = len(rows) > size, True
            self.object_list = rows[:size][::-1]
        else:
            page = queryset if before is None else queryset.filter(pk__lt=before)
            rows = list(page.order_by("-pk")[: size + 1])
            has_newer, has_older = before is not None, len(rows) > size
            self.object_list = rows[:size]
        self.newer = self.older = ""
        if self.object_list:
            self.newer = _query(request, "after", self.object_list[0].pk) if has_newer else ""
            self.older = _query(request, "before", self.object_list[-1].pk) if has_older else ""

    def __iter__(self) -> Iterator[M]:
        return iter(self.object_list)

    def __len__(self) -> int:
        return len(self.object_list)


def _key(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _query(request: HttpRequest, name: str, key: int) -> str:
    query = request.GET.copy()
    query.pop("before", None)
    query.pop("after", None)
    query[name] = str(key)
    return "?" + query.urlencode()
