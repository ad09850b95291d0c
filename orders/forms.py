"""What members and staff fill in about orders."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from cards.choices import ProductType

from .choices import OrderState


class CodeForm(forms.Form):
    """The one large field. What is typed is shown again as it was typed."""

    code = forms.CharField(
        label=_("Card code"),
        max_length=200,
        strip=False,
        help_text=_("Capital or small letters, with or without spaces and hyphens: any form is fine."),
        error_messages={"required": _("Please enter the code of your card.")},
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
            }
        ),
    )


class ConfirmForm(forms.Form):
    """The choice before the card is spent. What may be chosen is for `redemption.redeem` to say."""

    code = forms.CharField(max_length=200, strip=False, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))
    image = forms.IntegerField(required=False)
    hostname = forms.CharField(
        label=_("Host name"),
        required=False,
        max_length=253,
        help_text=_("Optional. Leave it empty and we choose one."),
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false", "placeholder": "web-1"}
        ),
    )

    def name_for(self, product_type: str) -> None:
        """Call the field by what the product makes of it: a site has a domain where a server has a host name."""
        if product_type == ProductType.VIRTUAL_HOST:
            field = self.fields["hostname"]
            field.label = _("Domain")
            field.help_text = _("Optional. Leave it empty and your site gets an address of ours.")
            field.widget.attrs["placeholder"] = "www.example.com"


class OrderFilterForm(forms.Form):
    """The toolbar above the staff's list of orders."""

    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=80,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": _("Order number or member")}),
    )
    state = forms.ChoiceField(
        label=_("State"),
        required=False,
        choices=[("", pgettext_lazy("any state", "All")), *OrderState.choices],
    )


class NoteForm(forms.Form):
    """Why a person on the staff changed an order; kept in its timeline."""

    note = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=300,
        help_text=_("Kept in the order's timeline."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
