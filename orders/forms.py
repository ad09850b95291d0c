"""What members and staff fill in about orders."""

from __future__ import annotations

from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.exceptions import AccountError, NoSuchUser
from accounts.models import User
from accounts.search import user_named
from accounts.stepup import StepUpForm
from cards import catalog
from cards.choices import ProductType
from cards.imports import imported_lengths
from cards.list_pages import DayFilter
from cards.models import Line

from .choices import OrderState
from .exceptions import MISTYPED

AS_TYPED = {"autocomplete": "off", "autocapitalize": "none", "autocorrect": "off", "spellcheck": "false"}
SERVER_WISHES = ("hostname", "ssh_key", "password")
SITE_WISHES = ("domain",)


class CodeForm(forms.Form):
    """The one large field. What is typed is shown again as it was typed."""

    code = forms.CharField(
        label=_("Card code"),
        max_length=200,
        strip=False,
        help_text=_("Capital or small letters, with or without spaces and hyphens: any form is fine."),
        error_messages={"required": MISTYPED["empty"]},
        widget=forms.TextInput(
            attrs={
                "class": "hero-field",
                "data-code": "",
                "autocomplete": "off",
                "autocapitalize": "characters",
                "autocorrect": "off",
                "spellcheck": "false",
                "enterkeyhint": "go",
                "placeholder": "XXXXX-XXXXX-XXXXX-XXXXX-XXXXX",
                "autofocus": True,
                **{f"data-says-{kind}": says for kind, says in MISTYPED.items()},
            }
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if lengths := imported_lengths():
            self.fields["code"].widget.attrs["data-other-lengths"] = " ".join(map(str, lengths))


class ConfirmForm(forms.Form):
    """The choice before the card is spent. What may be chosen is for `redemption.redeem` to say."""

    code = forms.CharField(max_length=200, strip=False, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))
    image = forms.IntegerField(required=False)
    agreed = forms.DecimalField(required=False, max_digits=12, decimal_places=2, widget=forms.HiddenInput)
    hostname = forms.CharField(
        label=_("Host name"),
        required=False,
        max_length=253,
        help_text=_("Leave it empty and we choose one."),
        widget=forms.TextInput(attrs=AS_TYPED | {"placeholder": "web-1"}),
    )
    domain = forms.CharField(
        label=_("Domain"),
        required=False,
        max_length=253,
        help_text=_("Your site gets a default address at once. You can name your own domain now, or later."),
        widget=forms.TextInput(attrs=AS_TYPED | {"placeholder": "www.example.com", "inputmode": "url"}),
    )
    ssh_key = forms.CharField(
        label=_("SSH public key"),
        required=False,
        max_length=8000,
        help_text=_("Linux only. One line, such as the contents of id_ed25519.pub."),
        widget=forms.Textarea(attrs=AS_TYPED | {"rows": 3, "placeholder": "ssh-ed25519 AAAA…", "class": "code-area"}),
    )
    password = forms.CharField(
        label=_("Password of the server"),
        required=False,
        max_length=200,
        strip=False,
        help_text=_("Leave it empty and we choose a strong one, shown when the server is open."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def suit(self, product_type: str) -> None:
        """Keep the wishes that this kind of product can fulfil."""
        unfit = SERVER_WISHES if catalog.product_of(product_type).is_site else SITE_WISHES
        for name in unfit:
            del self.fields[name]

    def wished(self) -> list[BoundField]:
        """The fields behind "More options"."""
        return [self[name] for name in (*SERVER_WISHES, *SITE_WISHES) if name in self.fields]

    def has_wishes(self) -> bool:
        """Whether something stands in them, or was refused: then they are shown open."""
        return any(bound.errors or bound.value() for bound in self.wished())


class BehalfForm(forms.Form):
    """For which member staff redeem a card, and why; kept in the order's timeline and the audit trail."""

    found: User
    member = forms.CharField(
        label=_("Member"),
        max_length=254,
        help_text=_("Login name, e-mail address or member ID."),
        widget=forms.TextInput(attrs=AS_TYPED | {"autofocus": True}),
    )
    note = forms.CharField(label=_("Reason"), max_length=300, help_text=_("Kept in the order's timeline."))

    def clean_member(self) -> str:
        wanted: str = self.cleaned_data["member"].strip()
        try:
            self.found = user_named(wanted)
        except AccountError as error:
            raise forms.ValidationError(str(error)) from None
        if not self.found.is_active:
            raise forms.ValidationError(str(NoSuchUser(wanted)))
        return wanted

    def hidden(self) -> list[tuple[str, str]]:
        """[(name, value)] to carry through the next step."""
        return [(name, str(self.cleaned_data[name])) for name in self.fields]


class ChargeForm(StepUpForm):
    """Proof that it is the person himself who spends a member's balance. It stands in the page's one form, so its
    fields are named apart from the server's password; the browser must not ask for them while nothing is charged."""

    prefix = "proof"
    use_required_attribute = False


class InviteForm(forms.Form):
    note = forms.CharField(
        label=_("For whom"),
        max_length=200,
        help_text=_("For your own records; the guest does not see it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class DomainForm(forms.Form):
    domain = forms.CharField(
        label=_("Domain"),
        required=False,
        max_length=253,
        help_text=_("Leave it empty to use the default address again."),
        widget=forms.TextInput(attrs=AS_TYPED | {"placeholder": "www.example.com", "inputmode": "url"}),
    )


class OrderFilterForm(DayFilter):
    """The toolbar above the staff's list of orders."""

    more = ("line", "since", "until")
    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=80,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": _("Order number or member")}),
    )
    state = forms.ChoiceField(
        label=_("State"),
        required=False,
        choices=[
            ("", pgettext_lazy("any state", "All")),
            ("stuck", _("Needs a decision")),
            *OrderState.choices,
        ],
    )
    type = forms.ChoiceField(
        label=_("Business type"),
        required=False,
        choices=[("", pgettext_lazy("any state", "All")), *ProductType.choices],
    )
    line = forms.ModelChoiceField(Line.objects.all(), label=_("Line"), required=False, empty_label=_("All"))
    field_order = ["q", "state", "type", "line", "since", "until"]


class NoteForm(forms.Form):
    """Why a person on the staff changed an order; kept in its timeline."""

    note = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=300,
        help_text=_("Kept in the order's timeline."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
