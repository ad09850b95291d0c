"""The audit trail (操作日志): who did what, whether the chain over it holds, and the same as CSV."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.models import User
from accounts.paging import KeysetPage
from accounts.search import people_named

from .. import audit, chain
from ..forms import AuditFilter, id_in
from ..list_pages import csv_of, in_days
from ..models import AuditCheck, AuditEvent, AuditHead, Card
from ..templatetags.trail import PEOPLE
from .access import SEE_LAST4, StaffRequest, staff_view, without_codes

EVENTS_A_PAGE = 50
COLUMNS = ("id", "time", "action", "actor", "batch", "card", "address", "details", "link", "hash")  # for machines


@staff_view("cards.view_audit_trail")
@without_codes()
def audit_trail(request: StaffRequest) -> HttpResponseBase:
    form = AuditFilter(request.GET)
    chosen = form.chosen()
    page: KeysetPage[Any] = KeysetPage(_narrowed(_events(), chosen), request, size=EVENTS_A_PAGE)
    head = AuditHead.objects.filter(pk=1).first()
    context = {
        "form": form,
        "page": page,
        "people": _named_in(list(page)),
        "narrowed": bool(chosen),
        "check": AuditCheck.objects.filter(pk=1).first() or AuditCheck(),
        "head": head,
        "head_hash": bytes(head.seal).hex() if head else "",
        "csv_url": reverse("staff:audit-csv"),
    }
    return render(request, "staff/audit_trail.html", context)


@staff_view("cards.view_audit_trail")
def audit_event(request: StaffRequest, event: int) -> HttpResponseBase:
    """One event with everything it says and its link, both verified now."""
    found = get_object_or_404(_events(), pk=event)
    link = getattr(found, "seal", None)
    context = {
        "event": found,
        "people": _named_in([found]),
        "genuine": audit.is_genuine(found),
        "link": link,
        "seal": bytes(link.seal).hex() if link else "",
        "broken": chain.wrong_with(link, found, chain.seal_before(link)) if link else "",
    }
    return render(request, "staff/audit_event.html", context)


@staff_view("cards.view_audit_trail")
@require_POST
def audit_csv(request: StaffRequest) -> HttpResponseBase:
    """What the filter shows. That it was taken is an event of its own, the last one in the file."""
    events = _narrowed(_events(), AuditFilter(request.GET).chosen())
    return csv_of(
        request, events, name="audit", columns=COLUMNS, cells=partial(_cells, request.user), actor=request.user
    )


def _events() -> QuerySet[AuditEvent]:
    related = AuditEvent.objects.select_related("actor", "batch", "card", "seal")
    return related.defer("batch__wrapped_key", "card__sealed", "card__lookup")


def _named_in(events: list[AuditEvent]) -> dict[int, User]:
    """The accounts whose keys stand in the events' details."""
    said = {event.detail.get(name) for event in events for name in PEOPLE}
    return User.objects.in_bulk([key for key in said if isinstance(key, int)])


def _narrowed(events: QuerySet[AuditEvent], chosen: dict[str, Any]) -> QuerySet[AuditEvent]:
    if "action" in chosen:
        events = events.filter(action=chosen["action"])
    if "actor" in chosen:
        events = events.filter(actor__in=_people(chosen["actor"]))
    if "batch" in chosen:
        events = events.filter(batch=id_in(chosen["batch"]) or 0)
    if "serial" in chosen:
        events = events.filter(card__in=_cards(chosen))
    narrowed: QuerySet[AuditEvent] = in_days(events, "at", chosen)
    return narrowed


def _people(text: str) -> list[int]:
    """Few enough to be named: user name, address or member ID."""
    people = (people_named(text), User.objects.filter(username__iexact=text))
    return [pk for found in people for pk in found.values_list("pk", flat=True)]


def _cards(chosen: dict[str, Any]) -> QuerySet[Card, Any]:
    """A serial means a card only within a batch."""
    return Card.objects.filter(batch=id_in(chosen.get("batch", "")) or 0, serial=chosen["serial"]).values("pk")


def _cells(reader: User, event: AuditEvent) -> tuple[object, ...]:
    link = getattr(event, "seal", None)
    return (
        event.pk,
        event.at.isoformat(timespec="seconds"),
        event.action,
        event.actor.get_username() if event.actor else "",
        event.batch.number if event.batch else "",
        _card(reader, event.card) if event.card else "",
        event.address or "",
        "; ".join(f"{name}={value}" for name, value in sorted(event.detail.items())),
        link.position if link else "",
        bytes(link.seal).hex() if link else "",
    )


def _card(reader: User, card: Card) -> str:
    return f"{card.serial} ({card.last4})" if reader.has_perm(SEE_LAST4) else str(card.serial)
