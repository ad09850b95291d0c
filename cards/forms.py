"""What staff type about batches and cards."""

from __future__ import annotations

import re
import uuid
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.stepup import StepUpForm

from . import catalog
from .actions import Validity, is_too_late, says_too_late
from .choices import AuditAction, BatchShown, CardStatus, ProductType, WindowsPolicy
from .days import today
from .list_pages import DayFilter
from .lists import MOST_CODES, Listed, unpack
from .models import Batch, Line

TERM_CHOICES = (1, 3, 6, 12, 24, 36)
LONGEST_MONTHS = 120
LARGEST_LIST = 1024 * 1024
_NUMBER = re.compile(r"P\d{8}-(\d{1,18})", re.ASCII | re.IGNORECASE)


def id_in(text: str) -> int | None:
    """The batch ID that a search text names, plain ("78") or as the batch number ("P20261123-78")."""
    if match := _NUMBER.fullmatch(text):
        return int(match[1])
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


class LineChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, line: Line) -> str:
        return f"{line.name} ({line.region})" if line.region and line.region not in line.name else line.name


class BatchFilter(DayFilter):
    """What the batch list can be narrowed to; every field is optional and kept in the URL."""

    more = ("validity", "creator", "since", "until")
    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": _("ID, batch or name")}),
    )
    type = forms.ChoiceField(label=_("Business type"), required=False)
    line = forms.ModelChoiceField(Line.objects.all(), label=_("Line"), required=False, empty_label=_("All"))
    status = forms.ChoiceField(label=_("Status"), required=False)
    validity = forms.ChoiceField(label=_("Validity"), required=False)
    creator = forms.CharField(label=_("Created by"), required=False, max_length=150)
    field_order = ["q", "type", "line", "status", "validity", "creator", "since", "until"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer(self.fields["type"], ProductType.choices)
        _offer(self.fields["status"], BatchShown.choices)
        _offer(
            self.fields["validity"],
            [
                ("30", _("Ends within 30 days")),
                ("90", _("Ends within 90 days")),
                ("valid", _("Still valid")),
                ("over", _("Over")),
            ],
        )


class CardFilter(forms.Form):
    """What a batch's table of cards can be narrowed to."""

    serial = forms.IntegerField(label=_("Serial"), required=False, min_value=1, max_value=2_147_483_647)
    status = forms.ChoiceField(label=_("Status"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer(self.fields["status"], CardStatus.choices)


class UsageFilter(DayFilter):
    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": _("Member or batch")}),
    )
    type = forms.ChoiceField(label=_("Business type"), required=False)
    line = forms.ModelChoiceField(Line.objects.all(), label=_("Line"), required=False, empty_label=_("All"))
    field_order = ["q", "type", "line", "since", "until"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer(self.fields["type"], ProductType.choices)


class AuditFilter(DayFilter):
    """What the audit trail can be narrowed to."""

    more = ()
    actor = forms.CharField(
        label=_("Who"),
        required=False,
        max_length=150,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": _("User name, e-mail or member ID")}),
    )
    action = forms.ChoiceField(label=_("Action"), required=False)
    batch = forms.CharField(
        label=_("Batch"),
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"placeholder": _("ID or number")}),
    )
    serial = forms.IntegerField(label=_("Serial"), required=False, min_value=1, max_value=2_147_483_647)
    field_order = ["actor", "action", "batch", "serial", "since", "until"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer(self.fields["action"], AuditAction.choices)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("serial") and not cleaned.get("batch"):
            self.add_error("serial", _("A serial needs its batch."))
        return cleaned


def _offer(field: forms.Field, choices: Any) -> None:
    assert isinstance(field, forms.ChoiceField)  # noqa: S101 - tells mypy what the class body says
    field.choices = [("", _("All")), *choices]


class BatchForm(forms.Form):
    """Everything about a new batch that is not its product type's own configuration.

    `request_token` makes a double submit harmless: the action returns the batch that already carries it.
    """

    PERIODS = ("12", "24")  # the choices of `validity` that are a number of months

    request_token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
    name = forms.CharField(label=_("Card name"), max_length=100)
    line = LineChoice(Line.objects.none(), label=_("Line"), empty_label=_("Please choose"))
    term_months = forms.IntegerField(
        label=_("Term (months)"),
        min_value=1,
        max_value=LONGEST_MONTHS,
        initial=12,
        help_text=_("How long the opened product runs."),
        widget=forms.NumberInput(attrs={"list": "term-choices", "inputmode": "numeric"}),
    )
    quantity = forms.IntegerField(label=_("Quantity"), min_value=1, initial=100)
    validity = forms.ChoiceField(
        label=_("Validity"),
        widget=forms.RadioSelect,
        initial="12",
        choices=[
            ("12", _("1 year from today")),
            ("24", _("2 years from today")),
            ("months", _("A number of months from today")),
            ("date", _("Until a fixed date")),
        ],
    )
    valid_months = forms.IntegerField(
        label=_("Months"), required=False, min_value=1, max_value=LONGEST_MONTHS, help_text=_("For a number of months.")
    )
    valid_until = forms.DateField(
        label=_("Last valid day"),
        required=False,
        help_text=_("For a fixed date; the cards are good until the end of that day."),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    windows_policy = forms.ChoiceField(
        label=_("Windows"),
        choices=WindowsPolicy.choices,
        initial=WindowsPolicy.MEMBER_PAYS,
        help_text=_("The reference price covers Linux. This says what happens when a member chooses Windows."),
    )
    reference_price = forms.DecimalField(
        label=_("Reference price"),
        required=False,
        min_value=Decimal(0),
        max_digits=12,
        decimal_places=2,
        help_text=_("Leave empty to use the computed price."),
    )
    note = forms.CharField(label=_("Note"), required=False, max_length=500, help_text=_("Only staff see it."))

    def __init__(self, *args: Any, product: catalog.Product, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        lines = self.fields["line"]
        assert isinstance(lines, forms.ModelChoiceField)  # noqa: S101 - tells mypy what the class body says
        lines.queryset = catalog.lines_offering(product.type)
        quantity = self.fields["quantity"]
        most = settings.BATCH_MAX_QUANTITY
        self.fields["quantity"] = forms.IntegerField(
            label=quantity.label,
            initial=quantity.initial,
            min_value=1,
            max_value=most,
            help_text=_("At most %(most)s cards.") % {"most": f"{most:,}"},
        )
        if not product.needs_os:
            del self.fields["windows_policy"]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        kind = data.get("validity")
        if kind == "months" and "valid_months" not in self.errors and not data.get("valid_months"):
            self.add_error("valid_months", _("Enter the number of months."))
        if kind == "date" and "valid_until" not in self.errors:
            self._check_last_day(data.get("valid_until"))
        return data

    def _check_last_day(self, day: date | None) -> None:
        if day is None:
            self.add_error("valid_until", _("Enter the last valid day."))
        elif day < today():
            self.add_error("valid_until", ValidationError(_("This day is over. Choose today or a later day.")))
        elif is_too_late(day):
            self.add_error("valid_until", says_too_late())

    def validity_chosen(self) -> Validity:
        kind = self.cleaned_data["validity"]
        if kind == "date":
            return Validity.until(self.cleaned_data["valid_until"])
        return Validity.months(self.cleaned_data["valid_months"] if kind == "months" else int(kind))


class ReasonForm(forms.Form):
    """Why a batch or a card is switched; it stands in the audit trail."""

    reason = forms.CharField(
        label=_("Reason"), required=False, max_length=200, help_text=_("Recorded in the audit trail.")
    )


class ExtendForm(StepUpForm):
    """Until when, why, and proof: cards that are good for longer, or again, are money owed for longer."""

    last_day = forms.DateField(
        label=_("Last valid day"),
        help_text=_("The cards are good until the end of that day."),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    reason = forms.CharField(label=_("Reason"), max_length=200, help_text=_("Recorded in the audit trail."))

    def __init__(self, *args: Any, batch: Batch, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        later = batch.last_day.date() + timedelta(days=1)
        self.fields["last_day"].widget.attrs["min"] = max(later, today()).isoformat()


class AddCardsForm(ReasonForm):
    """How many more. `was` is the quantity the page showed, so that a double submit adds once."""

    count = forms.IntegerField(label=_("Further cards"), min_value=1)
    was = forms.IntegerField(widget=forms.HiddenInput)
    field_order = ["count", "reason", "was"]

    def __init__(self, *args: Any, batch: Batch, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        most = max(settings.BATCH_MAX_QUANTITY - batch.quantity, 0)
        self.fields["count"].widget.attrs |= {"max": most}
        self.fields["count"].help_text = _("At most %(most)s cards.") % {"most": f"{most:,}"}
        self.fields["was"].initial = batch.quantity


class FindForm(forms.Form):
    """One field for whatever people have in hand. It is always posted: it may be a whole code."""

    q = forms.CharField(
        label=_("Code, batch and serial, or member"),
        max_length=200,
        help_text=_("Such as a whole code, 78/5, P20261123-78/5, a user name, an e-mail address or a member ID."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autofocus": True}),
    )

    def __init__(self, *args: Any, by_last4: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if by_last4:
            self.fields["q"].label = _("Code, last four characters, batch and serial, or member")
            self.fields["q"].help_text = _(
                "Such as a whole code, 3F7K, 78/5, P20261123-78/5, a user name, an e-mail address or a member ID."
            )


class CodeListForm(ReasonForm):
    """Codes, pasted or in a file; they are looked up and forgotten."""

    codes = forms.CharField(
        label=_("Codes"),
        required=False,
        strip=False,
        help_text=_("One a line, in any spelling."),
        widget=forms.Textarea(attrs={"rows": 8, "autocomplete": "off", "spellcheck": "false"}),
    )
    file = forms.FileField(label=_("Or a text file"), required=False, help_text=_("One code a line, at most 1 MB."))
    field_order = ["codes", "file", "reason"]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        file, pasted = data.get("file"), data.get("codes", "")
        if file and file.size > LARGEST_LIST:
            self.add_error("file", _("The file is larger than 1 MB."))
            return data
        text = file.read().decode("utf-8-sig", errors="replace") if file else pasted
        self.lines = text.split("\n")
        count = sum(1 for line in self.lines if line.strip())
        if file and pasted.strip():
            self.add_error("file", _("Paste codes or choose a file, not both."))
        elif not count and not self.errors:
            self.add_error("codes", _("Paste codes or choose a file."))
        elif count > MOST_CODES:
            self.add_error("codes", _("At most %(most)s codes at a time.") % {"most": f"{MOST_CODES:,}"})
        return data


class SelectionForm(ReasonForm):
    """Cards already looked up, as `lists.pack` wrote them: no code stands in the page that asks for confirmation."""

    lines = forms.CharField(widget=forms.HiddenInput)
    by_serial = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def clean_lines(self) -> list[Listed]:
        try:
            lines = unpack(self.cleaned_data["lines"])
        except ValueError:
            raise ValidationError(_("Please start again.")) from None
        if len(lines) > MOST_CODES:
            raise ValidationError(_("At most %(most)s codes at a time.") % {"most": f"{MOST_CODES:,}"})
        return lines


class ReplaceForm(StepUpForm):
    """Why a card is replaced, and proof that it is the signed-in person who asks: he is shown the new code."""

    reason = forms.CharField(label=_("Reason"), max_length=200, help_text=_("Recorded in the audit trail."))


class ApproveForm(StepUpForm):
    """The second person's approval of a batch above the limits."""

    was = forms.IntegerField(widget=forms.HiddenInput)
    note = forms.CharField(label=_("Note"), required=False, max_length=200, help_text=_("Recorded in the audit trail."))
