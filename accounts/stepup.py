"""Step-up: proof that it is the signed-in person who asks, before money moves or a secret is shown.

A form that guards such a deed derives from `StepUpForm` and is given the request. It asks for the password or a
second-factor code, whichever the person has; one of them is enough. A second factor given within the last five
minutes counts too (a passkey at sign-in, or at allauth's page for it, where the form links to): one-time codes cannot
be typed twice. A typed password counts for that one deed. Who has neither password nor second factor, as with single
sign-on, needs a sign-in of the last five minutes. A password counts only where passwords open something
(`LOCAL_PASSWORDS`).

Every try takes a place in the throttle first, a right one gives it back. What was typed stands in no log and no error
report: the form names both fields to Django's report filter.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.mfa.base.forms import ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from django.views.decorators.debug import sensitive_variables

from .exceptions import TooManyAttempts
from .models import User
from .throttle import give_back, take_place

TRIES = 5
SECRETS = ("password", "second_factor")
SIGN_IN_AGAIN = gettext_noop(
    "Your sign-in is too long ago for this. Sign out, sign in again and come back within five minutes."
)


def keep_out_of_reports(request: HttpRequest, *names: str) -> None:
    """What is typed as proof, and in fields of these `names`, is starred out in error reports about this request."""
    known = getattr(request, "sensitive_post_parameters", ())
    if known != "__ALL__":
        request.sensitive_post_parameters = [*known, *(names or SECRETS)]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Ways:
    """How a person can prove himself now. `recent`: nothing needs to be typed."""

    recent: bool
    password: bool
    code: bool
    passkey: bool

    @property
    def has_something(self) -> bool:
        """Something better than a sign-in can be asked of this person."""
        return self.password or self.code or self.passkey

    @property
    def signs_in_again(self) -> bool:
        """Nothing can be typed here: only a new sign-in proves who it is."""
        return not (self.recent or self.has_something)


def ways_of(request: HttpRequest) -> Ways:
    user = request.user
    assert isinstance(user, User)  # noqa: S101  (for the type checker: only signed-in people see such forms)
    types = set(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    password = settings.LOCAL_PASSWORDS and user.has_usable_password()
    code, passkey = bool(types - {Authenticator.Type.WEBAUTHN}), Authenticator.Type.WEBAUTHN in types
    recent = [record for record in get_authentication_records(request, user) if _is_fresh(record["at"])]
    if password or code or passkey:
        recent = [record for record in recent if _is_proof(record)]
    return Ways(recent=bool(recent), password=password, code=code, passkey=passkey)


def _is_fresh(at: float) -> bool:
    return bool(time.time() - at < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT)


def _is_proof(record: dict[str, Any]) -> bool:
    return bool(record.get("reauthenticated") or record.get("passwordless"))


class StepUpForm(forms.Form):
    """A form whose deed needs the person himself; `StepUpForm(data, request=request)`.

    The proof is looked at last, once everything else in the form is right, so that a mistyped field costs no
    one-time code. `includes/form_fields.html` shows the ways that are not a field.
    """

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        self.step_up = ways_of(request)
        keep_out_of_reports(request, *map(self.add_prefix, SECRETS))
        if not self.step_up.recent:
            self._ask()

    def _ask(self) -> None:
        both = self.step_up.password and self.step_up.code
        if self.step_up.password:
            self.fields["password"] = forms.CharField(
                label=gettext_lazy("Your password"),
                required=not (both or self.step_up.passkey),
                strip=False,
                max_length=4096,
                widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
            )
        if self.step_up.code:
            self.fields["second_factor"] = forms.CharField(
                label=gettext_lazy("Second-factor code"),
                required=not (both or self.step_up.passkey),
                max_length=100,
                help_text=gettext_lazy("From your app, or a recovery code. It can stand in for the password.")
                if both
                else gettext_lazy("From your app, or a recovery code."),
                widget=forms.TextInput(attrs={"autocomplete": "one-time-code"}),
            )

    @property
    def passkey_url(self) -> str:
        """Where a passkey is shown; it leads back here."""
        return f"{reverse('mfa_reauthenticate_webauthn')}?{urlencode({'next': self.request.get_full_path()})}"

    def full_clean(self) -> None:
        super().full_clean()
        if self.is_bound and not self.errors and not self.step_up.recent:
            self._prove()

    @sensitive_variables("password", "code")
    def _prove(self) -> None:
        password = self.cleaned_data.pop("password", "")
        code = self.cleaned_data.pop("second_factor", "")
        user = self.request.user
        assert isinstance(user, User)  # noqa: S101
        if not (password or code):
            self.add_error(None, _("Prove first that it is you."))
            return
        asked = "second_factor" if code else "password"
        try:
            take_try(user)
        except TooManyAttempts as error:
            self.add_error(asked, str(error))
            return
        if code:
            wrong = _problem_with_code(user, code)
        else:
            wrong = "" if is_password_of(self.request, user, password) else _("This is not your password.")
        if wrong:
            self.add_error(asked, wrong)
        else:
            give_try_back(user)


def take_try(user: User) -> None:
    """Count one proof before it is looked at, here and on allauth's page for it. Raises TooManyAttempts."""
    take_place(f"stepup:{user.pk}", limit=TRIES, window=settings.THROTTLE_WINDOW)


def give_try_back(user: User) -> None:
    """The proof was right."""
    give_back(f"stepup:{user.pk}")


@sensitive_variables("password")
def is_password_of(request: HttpRequest, user: User, password: str) -> bool:
    """Whether it is; who is right stays signed in, even if the check had to store a newer hash of it."""
    before = user.password
    right = user.check_password(password)
    if user.password != before:
        update_session_auth_hash(request, user)
        UserSession.objects.create_from_request(request)  # the session has another key now: it stays one that can end
    return right


@sensitive_variables("code")
def _problem_with_code(user: User, code: str) -> str:
    """What is wrong with the one-time code; a right one is used up and noted as a fresh second factor."""
    form = ReauthenticateForm({"code": code}, user=user)
    if not form.is_valid():
        return " ".join(str(text) for texts in form.errors.values() for text in texts)
    form.save()
    return ""
