"""What staff fill in about members, orders and services."""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.core.validators import MaxValueValidator
from django.utils.translation import gettext_lazy as _

from accounts.stepup import StepUpForm, keep_out_of_reports
from cards.actions import is_too_late, says_too_late
from cards.choices import ProductType
from cards.models import Line
from cards.statistics import Scope

from .choices import ServiceState

MOST_TOP_UP = Decimal(1_000_000)


def search_field(says: Any) -> forms.CharField:
    return forms.CharField(
        label=_("Search"),
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": says}),
    )


class ScopeFilter(forms.Form):
    """What the dashboard speaks of; a field that makes no sense narrows nothing."""

    type = forms.ChoiceField(label=_("Business type"), required=False, choices=[("", _("All")), *ProductType.choices])
    line = forms.ModelChoiceField(Line.objects.all(), label=_("Line"), required=False, empty_label=_("All"))

    def scope(self) -> Scope:
        self.is_valid()
        line = self.cleaned_data.get("line")
        return Scope(self.cleaned_data.get("type", ""), line and line.pk)


class MemberFilter(forms.Form):
    q = search_field(_("Member ID, e-mail or user name"))
    state = forms.ChoiceField(
        label=_("Status"),
        required=False,
        choices=[("", _("All")), ("active", _("Normal member")), ("disabled", _("Disabled"))],
    )


class ServiceFilter(forms.Form):
    q = search_field(_("Order number or member"))
    state = forms.ChoiceField(label=_("State"), required=False, choices=[("", _("All")), *ServiceState.choices])
    attention = forms.BooleanField(label=_("Needs a person"), required=False)


class DeedForm(forms.Form):
    """Why a person on the staff does it."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=200,
        help_text=_("Recorded in the audit trail."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class ProvenDeedForm(StepUpForm, DeedForm):
    """The same for what cannot be undone or gives something away, with proof that it is the person himself."""


class TopUpForm(StepUpForm):
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
    amount = forms.DecimalField(
        label=_("Amount"), min_value=Decimal("0.01"), max_value=MOST_TOP_UP, max_digits=9, decimal_places=2
    )
    reason = forms.CharField(
        label=_("Reason"), max_length=200, help_text=_("The member sees it beside the entry in his ledger.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["amount"].help_text = settings.CURRENCY


class CorrectionForm(StepUpForm):
    amount = forms.DecimalField(
        label=_("Amount to take back"), min_value=Decimal("0.01"), max_digits=9, decimal_places=2
    )
    reason = forms.CharField(
        label=_("Reason"), max_length=200, help_text=_("The member sees it beside the entry in his ledger.")
    )

    def __init__(self, *args: Any, most: Decimal, **kwargs: Any) -> None:
        super().__init__(*args, initial={"amount": most}, **kwargs)
        amount = self.fields["amount"]
        amount.help_text = _("At most %(most)s %(currency)s.") % {"most": f"{most:,.2f}", "currency": settings.CURRENCY}
        amount.validators.append(MaxValueValidator(most))
        amount.widget.attrs["max"] = f"{most:.2f}"


class ExtendServiceForm(ProvenDeedForm):
    last_day = forms.DateField(
        label=_("Last day"),
        help_text=_("The service runs to the end of that day."),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    field_order = ["last_day", "reason"]

    def clean_last_day(self) -> date:
        day: date = self.cleaned_data["last_day"]
        if is_too_late(day):
            raise forms.ValidationError(says_too_late())
        return day


SETTLED = [
    ("closed", _("Otherwise: nothing is opened, the card stays used")),
    ("refund", _("Otherwise, and the Windows surcharge goes back to the member")),
    ("opened", _("The product was opened by hand at the provisioner")),
]


class SettleForm(StepUpForm):
    """How an order that got stuck was settled past the portal."""

    how = forms.ChoiceField(
        label=_("How was it settled?"),
        widget=forms.RadioSelect,
        choices=SETTLED,
    )
    external_id = forms.CharField(
        label=_("ID at the provisioner"),
        required=False,
        max_length=200,
        help_text=_("For a product opened by hand."),
    )
    access_address = forms.CharField(label=_("The member's login: IP address"), required=False, max_length=200)
    access_username = forms.CharField(label=_("The member's login: user name"), required=False, max_length=100)
    access_password = forms.CharField(
        label=_("The member's login: password"),
        required=False,
        max_length=200,
        strip=False,
        help_text=_("Kept sealed; only the member is shown it."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    reason = forms.CharField(label=_("Note"), max_length=200, help_text=_("Kept in the order's timeline."))

    def __init__(self, *args: Any, surcharge: Decimal, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        keep_out_of_reports(self.request, "access_password")
        how = self.fields["how"]
        assert isinstance(how, forms.ChoiceField)  # noqa: S101 - tells mypy what the class body says
        if not surcharge:
            how.choices = [choice for choice in SETTLED if choice[0] != "refund"]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("how") == "opened" and not data.get("external_id", "").strip():
            self.add_error("external_id", _("Enter the ID of the product that was opened."))
        return data

    def access(self) -> dict[str, str]:
        """What the member logs in with, as `actions.resolve_order` takes it; what was left empty is left out."""
        typed = {name: self.cleaned_data[f"access_{name}"] for name in ("address", "username", "password")}
        return {name: value for name, value in typed.items() if value}
