"""How audit events read on pages."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

register = template.Library()

# What the details of events are called.
NAMES: dict[str, Any] = {
    "reason": _("Reason"),
    "note": _("Note"),
    "order": _("Pickup order"),
    "member": _("Member"),
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
}


@register.filter
def audit_details(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """[(name, value)] of what an event says, what is empty left out."""
    said = [(name, value) for name, value in detail.items() if value not in ("", None) and value is not False]
    return [(str(NAMES.get(name, name)), _text(value)) for name, value in said]


def _text(value: Any) -> str:
    if value is True:
        return gettext("yes")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
