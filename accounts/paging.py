"""Keyset pages: the next page starts after the last key seen, so that page 1000 costs what page 1 costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

M = TypeVar("M", bound=Model)


class KeysetPage(Generic[M]):
    """One page of `queryset`, highest `key` first unless `ascending`, as the request's `before` or `after` asks.

    `newer` and `older` are the query strings of the page above and the page below, other filters kept, or "" at the
    end. `key` is unique among the rows.
    """

    def __init__(
        self,
        queryset: QuerySet[M, Any],
        request: HttpRequest,
        *,
        size: int = 20,
        key: str = "pk",
        ascending: bool = False,
    ) -> None:
        before, after = _key(request, "before"), _key(request, "after")
        upwards = ascending if before is None and after is None else after is not None
        if after is not None:
            queryset = queryset.filter(**{f"{key}__gt": after})
        elif before is not None:
            queryset = queryset.filter(**{f"{key}__lt": before})
        rows = list(queryset.order_by(key if upwards else f"-{key}")[: size + 1])
        turned = upwards != ascending  # the page above was read from its lower end
        self.object_list = rows[:size][::-1] if turned else rows[:size]
        self.newer = self.older = ""
        if self.object_list:
            more, came_from_a_page = len(rows) > size, before is not None or after is not None
            above, below = ("before", "after") if ascending else ("after", "before")
            if more if turned else came_from_a_page:
                self.newer = _query(request, above, getattr(self.object_list[0], key))
            if turned or more:
                self.older = _query(request, below, getattr(self.object_list[-1], key))

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
