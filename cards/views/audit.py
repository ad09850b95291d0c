"""The audit trail (操作日志): who did what, whether the chain over it holds, and the same as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from accounts.models import User
from accounts.paging import KeysetPage

from .. import audit, chain
from ..forms import AuditFilter, id_in
from ..models import AuditCheck, AuditEvent, AuditHead, Card
from ..tables import csv_line
from .access import StaffRequest, staff_view

EVENTS_A_PAGE = 50
ROWS_AT_A_TIME = 2000
# An event may have a smaller id than one that is a little older: a transaction takes its id before it ends.
SLACK = 10_000
COLUMNS = ("id", "time", "action", "actor", "batch", "card", "address", "details", "link", "hash")


@staff_view("cards.view_audit_trail")
def audit_trail(request: StaffRequest) -> HttpResponseBase:
    form = AuditFilter(request.GET)
    form.is_valid()
    chosen = {name: value for name, value in form.cleaned_data.items() if value}
    page: KeysetPage[Any] = KeysetPage(_narrowed(_events(), chosen), request, size=EVENTS_A_PAGE)
    head = AuditHead.objects.filter(pk=1).first()
    context = {
        "form": form,
        "page": page,
        "narrowed": bool(chosen),
        "check": AuditCheck.objects.filter(pk=1).first() or AuditCheck(),
        "head": head,
        "head_hash": bytes(head.seal).hex() if head else "",
        "query": request.GET.urlencode(),
    }
    return render(request, "staff/audit_trail.html", context)


@staff_view("cards.view_audit_trail")
def audit_event(request: StaffRequest, event: int) -> HttpResponseBase:
    """One event with everything it says and its link, both verified now."""
    found = get_object_or_404(_events(), pk=event)
    link = getattr(found, "seal", None)
    context = {
        "event": found,
        "genuine": audit.is_genuine(found),
        "link": link,
        "seal": bytes(link.seal).hex() if link else "",
        "broken": chain.wrong_with(link, found, chain.seal_before(link)) if link else "",
    }
    return render(request, "staff/audit_event.html", context)


@staff_view("cards.view_audit_trail")
def audit_csv(request: StaffRequest) -> HttpResponseBase:
    """What the filter shows, oldest first, streamed."""
    form = AuditFilter(request.GET)
    form.is_valid()
    events = _narrowed(_events(), {name: value for name, value in form.cleaned_data.items() if value})
    response = StreamingHttpResponse(_csv(events), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="audit-{timezone.localdate():%Y%m%d}.csv"'
    return response


def _events() -> QuerySet[AuditEvent]:
    related = AuditEvent.objects.select_related("actor", "batch", "card", "seal")
    return related.defer("batch__wrapped_key", "card__sealed", "card__lookup")


def _narrowed(events: QuerySet[AuditEvent], chosen: dict[str, Any]) -> QuerySet[AuditEvent]:
    if "action" in chosen:
        events = events.filter(action=chosen["action"])
    if "actor" in chosen:
        events = events.filter(actor__in=_people(chosen["actor"]))
    if "batch" in chosen:
        events = events.filter(batch=id_in(chosen["batch"]) or 0)
    if "serial" in chosen:
        events = events.filter(card__in=_cards(chosen))
    if "since" in chosen:
        start = _start_of(chosen["since"])
        first = AuditEvent.objects.filter(at__gte=start).order_by("at").values_list("pk", flat=True).first()
        events = events.filter(at__gte=start, pk__gte=(first or 0) - SLACK)
    if "until" in chosen:
        end = _start_of(chosen["until"] + timedelta(days=1))
        last = AuditEvent.objects.filter(at__lt=end).order_by("-at").values_list("pk", flat=True).first()
        events = events.filter(at__lt=end, pk__lte=(last or 0) + SLACK)
    return events


def _people(text: str) -> list[int]:
    """Few enough to be named: user name, address or member ID."""
    people = User.objects.filter(username__iexact=text) | User.objects.filter(email__iexact=text)
    people |= User.objects.filter(external_id=text)
    return list(people.values_list("pk", flat=True))


def _cards(chosen: dict[str, Any]) -> QuerySet[Card, Any]:
    """A serial means a card only within a batch."""
    return Card.objects.filter(batch=id_in(chosen.get("batch", "")) or 0, serial=chosen["serial"]).values("pk")


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()), timezone.get_default_timezone())


def _csv(events: QuerySet[AuditEvent]) -> Iterator[bytes]:
    yield b"\xef\xbb\xbf" + csv_line(COLUMNS)
    after = 0
    while rows := list(events.filter(pk__gt=after).order_by("pk")[:ROWS_AT_A_TIME]):
        yield b"".join(csv_line(_row(event)) for event in rows)
        after = rows[-1].pk


def _row(event: AuditEvent) -> tuple[object, ...]:
    link = getattr(event, "seal", None)
    return (
        event.pk,
        event.at.isoformat(timespec="seconds"),
        event.action,
        event.actor.get_username() if event.actor else "",
        event.batch.number if event.batch else "",
        f"{event.card.serial} ({event.card.last4})" if event.card else "",
        event.address or "",
        "; ".join(f"{name}={value}" for name, value in sorted(event.detail.items())),
        link.position if link else "",
        bytes(link.seal).hex() if link else "",
    )
