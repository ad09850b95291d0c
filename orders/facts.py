"""What a provisioner says that it delivered, in words for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from cards import catalog

LABELS = {"hostname": _("Host name"), "address": _("IP address"), "image": _("Image"), "domain": _("Domain")}


@dataclass(frozen=True)
class Fact:
    """`sold` is what the card promised where the provisioner shows another value, else empty."""

    label: str
    value: str
    sold: str = ""


def shown_facts(product_type: str, facts: dict[str, Any], spec: dict[str, Any] | None = None) -> list[Fact]:
    """In the order of the configuration; a name we have no word for stays out."""
    fields = catalog.product_of(product_type).spec_form().fields
    known = {name: field.label for name, field in fields.items()} | LABELS
    rows: list[Fact] = []
    for name, label in known.items():
        value, sold = facts.get(name), (spec or {}).get(name)
        if value not in (None, ""):
            other = sold not in (None, "") and str(sold) != str(value)
            rows.append(Fact(str(label), str(value), str(sold) if other else ""))
    return rows
