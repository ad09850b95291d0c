"""Keyset pages: the next page starts after the last key seen, so that page 1000 costs what page 1 costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import DateTimeField, Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

M = TypeVar("M", bound=Model)
SLACK = 10_000  # a row may have a smaller key than one that is a little older: it takes its key before it is committed


class KeysetPage(Generic[M]):
    """One page of `queryset`, highest `key` first unless `ascending`, as the request's `before` or `after` asks.

    `previous_query` and `next_query` are the parameters that lead to the neighbouring pages, None at the ends; the
    template tag `pages` makes links of them. `key` is unique among the rows. With `column` the rows stand in its order
    and rows of the same value in that of `key`; an index on both keeps each page cheap.
    """

    def __init__(
        self,
        queryset: QuerySet[M, Any],
        request: HttpRequest,
        *,
        size: int = 20,
        key: str = "pk",
        column: str = "",
        ascending: bool = False,
    ) -> None:
        self.key, self.column = key, column
        before, after = self._cursor(queryset, request, "before"), self._cursor(queryset, request, "after")
        upwards = ascending if before is None and after is None else after is not None
        if after is not None:
            queryset = queryset.filter(self._beyond("gt", after))
        elif before is not None:
            queryset = queryset.filter(self._beyond("lt", before))
        sign = "" if upwards else "-"
        order = [f"{sign}{name}" for name in (column, key) if name]
        rows = list(queryset.order_by(*order)[: size + 1])
        turned = upwards != ascending  # the page above was read from its lower end
        self.object_list = rows[:size][::-1] if turned else rows[:size]
        self.previous_query: dict[str, Any] | None = None
        self.next_query: dict[str, Any] | None = None
        if self.object_list:
            more, came_from_a_page = len(rows) > size, before is not None or after is not None
            above, below = ("before", "after") if ascending else ("after", "before")
            if more if turned else came_from_a_page:
                self.previous_query = {above: self._mark(self.object_list[0])}
            if turned or more:
                self.next_query = {below: self._mark(self.object_list[-1])}

    def __iter__(self) -> Iterator[M]:
        return iter(self.object_list)

    def __len__(self) -> int:
        return len(self.object_list)

    def _beyond(self, way: str, cursor: tuple[Any, int]) -> Q:
        value, key = cursor
        if not self.column:
            return Q(**{f"{self.key}__{way}": key})
        # The first condition repeats what the second implies: it is the one an index can start from.
        return Q(**{f"{self.column}__{way}e": value}) & (
            Q(**{f"{self.column}__{way}": value}) | Q(**{f"{self.key}__{way}": key})
        )

    def _mark(self, row: M) -> Any:
        """What stands in the URL for this row."""
        key = getattr(row, self.key)
        if not self.column:
            return key
        value = getattr(row, self.column)
        return f"{value.isoformat() if isinstance(value, datetime) else value}~{key}"

    def _cursor(self, queryset: QuerySet[M, Any], request: HttpRequest, name: str) -> tuple[Any, int] | None:
        """What the URL says, or None when it makes no sense: it comes from outside."""
        head, _, tail = request.GET.get(name, "").rpartition("~")
        if not (tail.isascii() and tail.isdigit() and len(tail) < 19) or bool(head) != bool(self.column):
            return None
        if not self.column:
            return None, int(tail)
        try:
            value = queryset.model._meta.get_field(self.column).to_python(head)  # type: ignore[union-attr]
            if isinstance(value, datetime):
                timezone.make_naive(value, UTC)  # refuses one without a zone, or outside the calendar
        except (ValidationError, FieldDoesNotExist, ValueError, OverflowError):
            return None
        return value, int(tail)


def within(queryset: QuerySet[M, Any], column: str, since: datetime | None, until: datetime | None) -> QuerySet[M, Any]:
    """The rows whose `column`, an instant with an index, lies in [since, until).

    Keys grow with that instant, and lists are read by their keys: so the keys are bounded too, and a page costs the
    same however far back its days lie.
    """
    assert isinstance(queryset.model._meta.get_field(column), DateTimeField)  # noqa: S101 - a slip of ours
    keys = queryset.model._base_manager.order_by(column).values_list("pk", flat=True)
    if since:
        first = keys.filter(**{f"{column}__gte": since}).first()
        queryset = (
            queryset.none() if first is None else queryset.filter(**{f"{column}__gte": since, "pk__gte": first - SLACK})
        )
    if until:
        beyond = keys.filter(**{f"{column}__gte": until}).first()
        queryset = queryset.filter(**{f"{column}__lt": until})
        if beyond is not None:
            queryset = queryset.filter(pk__lt=beyond + SLACK)
    return queryset
