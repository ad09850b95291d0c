from __future__ import annotations

from typing import Any

from allauth.account import forms as allauth_forms
from django import forms
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from .exceptions import TooManyAttempts
from .mailboxes import free_spare_address, may_reset_password, take_possession
from .middleware import all_zones
from .models import User
from .stepup import give_try_back, take_try


class LoginForm(allauth_forms.LoginForm):  # type: ignore[misc]
    """allauth's form, with a first field that says what goes in it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        login = self.fields["login"]
        login.label = _("Username or e-mail address")
        login.widget.attrs.pop("placeholder", None)
        login.widget.attrs |= {"autocomplete": "username", "autofocus": True}
        self.fields["password"].widget.attrs.pop("placeholder", None)


class SignupForm(allauth_forms.SignupForm):  # type: ignore[misc]
    """allauth's form; an address that somebody named beside his confirmed one is free for the newcomer."""

    def validate_unique_email(self, value: str) -> str:
        free_spare_address(value)
        email: str = super().validate_unique_email(value)
        return email


class ResetPasswordForm(allauth_forms.ResetPasswordForm):  # type: ignore[misc]
    """allauth's form; an address that somebody only named gets no link to an account with a confirmed one."""

    users: list[User]

    def clean_email(self) -> str:
        email: str = super().clean_email()
        self.users = [user for user in self.users if may_reset_password(user, email)]
        return email


class ResetPasswordKeyForm(allauth_forms.ResetPasswordKeyForm):  # type: ignore[misc]
    """The new password that the link in the mail leads to."""

    @transaction.atomic
    def save(self) -> None:
        super().save()
        take_possession(user=self.user)


class ChangePasswordForm(allauth_forms.ChangePasswordForm):  # type: ignore[misc]
    """allauth's form; tries at the old password count with those of every step-up."""

    def clean_oldpassword(self) -> str:
        try:
            take_try(self.user)
        except TooManyAttempts as error:
            raise forms.ValidationError(str(error)) from None
        password: str = super().clean_oldpassword()
        give_try_back(self.user)
        return password


class ProfileForm(forms.ModelForm[User]):
    """What a person sets for himself: language and time zone."""

    time_zone = forms.ChoiceField(label=_("Time zone"), required=False)

    class Meta:
        model = User
        fields = ["language", "time_zone"]
        labels = {"language": _("Language")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        as_browser = ("", _("Same as my browser"))
        languages, time_zones = self.fields["language"], self.fields["time_zone"]
        assert isinstance(languages, forms.ChoiceField)  # noqa: S101  (for the type checker)
        assert isinstance(time_zones, forms.ChoiceField)  # noqa: S101
        languages.choices = [as_browser, *settings.LANGUAGES]
        time_zones.choices = [as_browser, *zones()]


def zones() -> list[tuple[str, list[tuple[str, str]]]]:
    """The zones people live in, grouped by continent."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(all_zones()):
        area, _slash, place = name.partition("/")
        if not place or area in ("Etc", "SystemV", "US", "Canada", "Mexico", "Brazil", "Chile", "posix", "right"):
            continue
        groups.setdefault(area, []).append((name, place.replace("_", " ")))
    return [*groups.items(), ("UTC", [("UTC", "UTC")])]
