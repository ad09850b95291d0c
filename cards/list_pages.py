"""What the staff's lists share: the day filters, the sorting, and the CSV of what is filtered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django import forms
from django.core.validators import MinValueValidator
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.address import client_address
from accounts.models import User
from accounts.paging import within

from . import audit
from .choices import AuditAction
from .code_texts import masked
from .days import start_of, today
from .tables import csv_line

FIRST_ROWS, ROWS_AT_A_TIME = 100, 2000  # the first rows are soon on their way


def _day_field(label: Any) -> forms.DateField:
    return forms.DateField(
        label=label,
        required=False,
        validators=[MinValueValidator(date(1970, 1, 1))],  # a year half typed
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )


class DayFilter(forms.Form):
    """From and until a day, in the portal's time zone. `more`: the fields that stand behind "More filters"."""

    more: tuple[str, ...] = ("since", "until")
    since = _day_field(_("From"))
    until = _day_field(_("Until"))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        since, until = data.get("since"), data.get("until")
        if since and until and until < since:
            self.add_error("until", _("This day lies before the first one."))
        return data

    def chosen(self) -> dict[str, Any]:
        """What was chosen; a field that makes no sense is shown as such and narrows nothing."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value not in (None, "", False)}

    @property
    def more_open(self) -> bool:
        return any(self[name].value() for name in self.more)


def in_days(rows: QuerySet[Any, Any], column: str, chosen: dict[str, Any]) -> Any:
    """`rows` narrowed to the chosen days."""
    since, until = chosen.get("since"), chosen.get("until")
    end = start_of(until + timedelta(days=1)) if until and until < date.max else None
    return within(rows, column, since and start_of(since), end)


@dataclass(frozen=True)
class Heading:
    """A heading that sorts: `url` leads to the other direction, or to this order."""

    url: str
    aria: str
    arrow: str
    ascending: bool


class Sorting:
    """The order that `?sort=` asks for: a name of `columns` ascending, `-name` descending; the first one descending
    without it. Each column must have an index with the primary key behind it, or be the key."""

    def __init__(self, request: HttpRequest, columns: dict[str, str]) -> None:
        asked = request.GET.get("sort", "")
        default = next(iter(columns))
        name = asked.removeprefix("-")
        self.name = name if name in columns else default
        self.ascending = asked == self.name
        self.value = asked if name in columns else ""
        self.column = "" if columns[self.name] == "pk" else columns[self.name]
        self._query, self._columns, self._default = request.GET.copy(), columns, default
        for key in ("sort", "before", "after"):
            self._query.pop(key, None)

    def heading(self, name: str) -> Heading:
        current = name == self.name
        ascending = not self.ascending if current else name != self._default
        query = self._query.copy()
        wanted = name if ascending else f"-{name}"
        if wanted != f"-{self._default}":
            query["sort"] = wanted
        aria = ("ascending" if self.ascending else "descending") if current else "none"
        return Heading(f"?{query.urlencode()}", aria, ("↑" if self.ascending else "↓") if current else "", ascending)

    def headings(self) -> dict[str, Heading]:
        return {name: self.heading(name) for name in self._columns}


def csv_of(
    request: HttpRequest,
    rows: QuerySet[Any, Any],
    *,
    name: str,
    columns: Sequence[object],
    cells: Callable[[Any], Sequence[object]],
    actor: User,
) -> StreamingHttpResponse:
    """The filtered rows, oldest first, streamed; who took them, and by which filter, stands in the audit trail."""
    query = masked(request.GET)
    for key in ("sort", "before", "after"):
        query.pop(key, None)
    audit.record(
        AuditAction.EXPORT_LIST, actor=actor, address=client_address(request), list=name, filter=query.urlencode()[:500]
    )
    response = StreamingHttpResponse(_lines(rows, columns, cells), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}-{today():%Y%m%d}.csv"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _lines(
    rows: QuerySet[Any, Any], columns: Sequence[object], cells: Callable[[Any], Sequence[object]]
) -> Iterator[bytes]:
    yield b"\xef\xbb\xbf" + csv_line(str(column) for column in columns)
    after, size = 0, min(FIRST_ROWS, ROWS_AT_A_TIME)
    while chunk := list(rows.filter(pk__gt=after).order_by("pk")[:size]):
        yield b"".join(csv_line(cells(row)) for row in chunk)
        after, size = chunk[-1].pk, ROWS_AT_A_TIME


def timed(label: object) -> str:
    """The heading of a column of moments."""
    return f"{label} ({timezone.get_default_timezone_name()})"


def moment(value: datetime | None) -> str:
    """An instant as the files hold it, in the portal's time zone."""
    if value is None:
        return ""
    return timezone.localtime(value, timezone.get_default_timezone()).strftime("%Y-%m-%d %H:%M:%S")
