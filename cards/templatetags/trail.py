"""How audit events read on pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.models import User

from ..choices import CardStatus

register = template.Library()

PEOPLE = ("member", "asked_by", "account")  # details that are the key of an account

# What the details of events are called.
NAMES: dict[str, Any] = {
    "reason": _("Reason"),
    "note": _("Note"),
    "order": _("Pickup order"),
    "member": _("Member ID"),
    "serial": _("Serial"),
    "new_serial": _("New serial"),
    "cards": _("Cards"),
    "quantity": _("Quantity"),
    "reference_price": _("Reference price"),
    "format": _("Format"),
    "change": _("Change"),
    "last_day_before": _("Valid until, before"),
    "last_day": _("Valid until"),
    "asked": _("Asked for"),
    "generated": _("Generated"),
    "needs_approval": _("Waits for approval"),
    "layout": _("Layout"),
    "archive": _("In an archive"),
    "serials": _("Serials"),
    "asked_by": _("Asked for by"),
    "code_bits": _("Bits of a code"),
    "amount": _("Amount"),
    "balance": _("Balance"),
    "reference": _("Reference"),
    "invitation": _("Invitation"),
    "list": _("List"),
    "lines": _("Lines of the list"),
    "found": _("Found"),
    "unknown": _("Unknown codes"),
    "filter": _("Filter"),
    "kind": _("Kind"),
    "id": _("ID"),
    "name": pgettext_lazy("of a thing", "Name"),
    "fields": _("Before and after"),
    "status": _("Status"),
    "until": _("Runs until"),
    "machine": _("Machine"),
    "server_model": _("Server model"),
    "login": _("Login"),
    "account": _("Account"),
    "command": _("By command on the server"),
    "roles": _("Roles"),
    "roles_before": _("Roles before"),
}
SPOKEN = ("change", "kind", "list", "login", "status")  # details whose values stand in WORDS
# What staff did, as the events write it.
WORDS: dict[str, Any] = {
    "retry": _("Restarted"),
    "domain": _("New domain"),
    "domain retry": _("New domain, tried again"),
    "opened by hand": _("Opened by hand"),
    "added": pgettext_lazy("to the catalogue", "Added"),
    "changed": pgettext_lazy("in the catalogue", "Changed"),
    "service active": _("Service resumed"),
    "service suspended": _("Service suspended"),
    "service terminated": _("Service terminated"),
    "service settled active": _("Service resumed by hand"),
    "service settled suspended": _("Service suspended by hand"),
    "service settled terminated": _("Service terminated by hand"),
    "service extended": _("Term extended"),
    "closed": _("Closed"),
    "closed with refund": _("Closed, surcharge refunded"),
    "free -> assigned": _("Assigned"),
    "assigned -> free": _("Handed back"),
    "assigned -> cleaning": _("To be cleaned"),
    "assigned -> out": _("Out of service"),
    "out of service": _("Out of service"),
    "free": pgettext_lazy("machine state", "Free"),
    "kept": _("Kept"),
    "line": _("Line"),
    "image": _("Image"),
    "servermodel": _("Server model"),
    "operatingsystem": _("Operating system"),
    "audit": _("Audit trail"),
    "batches": _("Batches"),
    "orders": _("Pickup orders"),
    "usage": _("Usage log"),
    **dict(CardStatus.choices),
}


@register.filter
def audit_details(detail: dict[str, Any], people: Mapping[int, User]) -> list[tuple[str, str]]:
    """[(name, value)] of what an event says, what is empty left out; `people` are those whose keys stand in it."""
    said = [(name, value) for name, value in detail.items() if value not in ("", None) and value is not False]
    return [
        (str(NAMES.get(name, name)), _person(value, people) if name in PEOPLE else _text(name, value))
        for name, value in said
    ]


def _person(key: Any, people: Mapping[int, User]) -> str:
    person = people.get(key)
    return f"{person.member_id} ({person.get_username()})" if person else str(key)


def _text(name: str, value: Any) -> str:
    if name in SPOKEN:
        return str(WORDS.get(value, value))
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text('', inner)}" for key, inner in value.items())
    if value is True:
        return gettext("yes")
    if isinstance(value, list):
        return ", ".join("—" if each is None else str(each) for each in value)
    return str(value)
