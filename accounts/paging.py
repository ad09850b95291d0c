"""Keyset pages: the next page starts after the last key seen, so that page 1000 costs what page 1 costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

M = TypeVar("M", bound=Model)


class KeysetPage(Generic[M]):
    """One page of `queryset`, highest `key` first unless `ascending`, as the request's `before` or `after` asks.

    `previous_query` and `next_query` are the parameters that lead to the neighbouring pages, None at the ends; the
    template tag `pages` makes links of them. `key` is unique among the rows.
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
        self.previous_query: dict[str, int] | None = None
        self.next_query: dict[str, int] | None = None
        if self.object_list:
            more, came_from_a_page = len(rows) > size, before is not None or after is not None
            above, below = ("before", "after") if ascending else ("after", "before")
            if more if turned else came_from_a_page:
                self.previous_query = {above: getattr(self.object_list[0], key)}
            if turned or more:
                self.next_query = {below: getattr(self.object_list[-1], key)}

    def __iter__(self) -> Iterator[M]:
        return iter(self.object_list)

    def __len__(self) -> int:
        return len(self.object_list)


def _key(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
