"""What is asked before codes leave the portal."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.stepup import StepUpForm, keep_out_of_reports

from ..choices import ExportFormat, PrintLayout
from .archive import SHORTEST_PASSWORD, new_password


class RevealForm(StepUpForm):
    """Why a code is looked at."""

    reason = forms.CharField(label=_("Reason"), max_length=200, help_text=_("Recorded in the audit trail."))


class SerialsField(forms.CharField):
    """`17` or `1-100` -> (first, last); empty -> None."""

    def to_python(self, value: Any) -> Any:
        text = re.sub(r"\s", "", unicodedata.normalize("NFKC", value or "")).replace("–", "-").replace("—", "-")
        if not text:
            return None
        found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text, re.ASCII)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last:
            raise ValidationError(_("Write one serial, such as 17, or a range, such as 1-100."))
        return first, last


class DownloadForm(StepUpForm):
    """What leaves the portal, in which form and why, and proof that it is the signed-in person who asks."""

    file_format = forms.ChoiceField(
        label=_("Format"), choices=ExportFormat.choices, initial=ExportFormat.TXT, widget=forms.RadioSelect
    )
    layout = forms.ChoiceField(
        label=_("Layout"),
        choices=PrintLayout.choices,
        required=False,
        help_text=_(
            "For PDF. Print at actual size, without fitting to the page. More than 5,000 cards come as several files "
            "in a zip archive, 100,000 cards at most; for more give the printer a CSV file."
        ),
    )
    serials = SerialsField(
        label=_("Serials"),
        required=False,
        max_length=30,
        help_text=_("One, such as 17, or a range, such as 1-100. Empty: all cards."),
    )
    archive = forms.BooleanField(label=_("Put the file into a password-protected archive (AES-256)"), required=False)
    archive_password = forms.CharField(
        label=_("Password of the archive"),
        required=False,
        min_length=SHORTEST_PASSWORD,
        max_length=100,
        help_text=_(
            "Note it down before you download: it is shown only here and stored nowhere. You may choose your own. Send "
            "it by another way than the file."
        ),
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off", "class": "code-input"}),
    )
    reason = forms.CharField(label=_("Reason"), max_length=200, help_text=_("Recorded in the audit trail."))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["archive_password"].initial = new_password()
        keep_out_of_reports(self.request, "archive_password")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("archive") and not data.get("archive_password") and "archive_password" not in self.errors:
            self.add_error("archive_password", _("Enter a password for the archive."))
        return data

    def wishes(self) -> dict[str, Any]:
        """As `exports.hand_out` takes them."""
        data = self.cleaned_data
        return {
            "file_format": ExportFormat(data["file_format"]),
            "layout": PrintLayout(data["layout"] or PrintLayout.A4_10),
            "serials": data["serials"],
            "password": data["archive_password"] if data["archive"] else "",
            "reason": data["reason"],
        }
