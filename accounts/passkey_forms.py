"""allauth's passkey forms, which answer a credential that Python's JSON reader refuses as any other wrong one.

A number of thousands of digits (ValueError) and brackets a thousand deep (RecursionError) are no JSONDecodeError, and
Django's field catches that one only. `settings.MFA_FORMS` names the forms.
"""

from __future__ import annotations

from typing import Any

from allauth.mfa.webauthn import forms as passkeys
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _


class CredentialField(forms.JSONField):
    widget = forms.HiddenInput

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except (ValueError, RecursionError):
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": ""}) from None


class AddPasskeyForm(passkeys.AddWebAuthnForm):  # type: ignore[misc]
    """As allauth's, with the labels in our words: its own are not all translated."""

    credential = CredentialField()
    passwordless = forms.BooleanField(
        label=_("Sign in with it alone, without a password"),
        required=False,
        help_text=_("Your device then asks for your fingerprint, your face or its PIN each time."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = _("Name of the key")


class SecondFactorPasskeyForm(passkeys.AuthenticateWebAuthnForm):  # type: ignore[misc]
    credential = CredentialField()


class LoginPasskeyForm(passkeys.LoginWebAuthnForm):  # type: ignore[misc]
    credential = CredentialField()


class ProofPasskeyForm(passkeys.ReauthenticateWebAuthnForm):  # type: ignore[misc]
    credential = CredentialField()
