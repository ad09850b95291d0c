"""Where the portal's rules meet allauth: who may sign up, and what the company's sign-in says about a person."""

from __future__ import annotations

import logging
import unicodedata
from datetime import timedelta
from smtplib import SMTPException
from typing import Any, NoReturn

import requests
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .address import client_address
from .exceptions import InvitationNotValid, MemberIdUnfit, TooManyAttempts
from .mailboxes import address_is_taken, free_address, unconfirmed_address
from .membership import accept_invitation, is_invited, keep_external_id, member_of_company
from .models import MEMBER_ID_LENGTH, User
from .stepup import SIGN_IN_AGAIN, give_try_back, is_password_of, take_try, ways_of
from .throttle import address_block, take_place

logger = logging.getLogger(__name__)
INVITATION = "invitation"  # where the session keeps an invitation's secret until the account is made


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Sign-up by setting; after sign-in staff land in the backend, members in the member centre."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        if not settings.LOCAL_PASSWORDS:
            return False
        if settings.SIGN_UP == "invitation":
            return is_invited(request.session.get(INVITATION, ""))
        return bool(settings.SIGN_UP == "open")

    def clean_username(self, username: str, shallow: bool = False) -> str:
        """A new name must not read like somebody's member ID or e-mail address: staff find people by all three."""
        name: str = super().clean_username(username, shallow=shallow)
        plain = unicodedata.normalize("NFKC", name)
        if plain.isdigit() or "@" in plain:
            raise ValidationError(_("A user name cannot be a number alone, and has no @ in it."))
        if not shallow and User.objects.filter(external_id=name).exists():
            raise self.validation_error("username_taken")
        return name

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        """The account and the invitation it spends are one. Guesses at codes are counted by account (decision 023): so
        are accounts, by the block of addresses that they come from."""
        try:
            take_place(
                f"signup:{address_block(client_address(request) or '')}",
                limit=settings.SIGN_UPS_A_DAY,
                window=timedelta(days=1),
            )
            with transaction.atomic():
                user = super().save_user(request, user, form, commit)
                if settings.SIGN_UP == "invitation":
                    accept_invitation(token=request.session.pop(INVITATION, ""), user=user)
        except InvitationNotValid:
            raise ImmediateHttpResponse(render(request, "account/signup_closed.html")) from None
        except TooManyAttempts as error:
            messages.error(request, str(error))
            raise ImmediateHttpResponse(redirect("account_signup")) from None
        except IntegrityError:  # the form was sent twice, and both found the name and the address free
            text = _("An account with this user name or e-mail address was made just now. If it is yours, sign in.")
            messages.info(request, text)
            raise ImmediateHttpResponse(redirect("account_login")) from None
        return user

    def format_email_subject(self, subject: str) -> str:
        return f"[{_title()}] {subject}"

    def render_mail(self, template_prefix: str, email: Any, context: dict[str, Any], headers: Any = None) -> Any:
        """Under the portal's name; allauth knows the host's only."""
        context = context | {"title": _title(), "support": settings.SUPPORT_CONTACT}
        return super().render_mail(template_prefix, email, context, headers)

    def send_notification_mail(
        self, template_prefix: str, user: User, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """To the address that he confirmed, or to nobody. What was changed stays so when the mail cannot be sent."""
        which = {"email": email} if email else {"primary": True}  # a change of the address goes to the one before
        confirmed = EmailAddress.objects.filter(user=user, verified=True, **which)
        for address in confirmed.values_list("email", flat=True):
            try:
                super().send_notification_mail(template_prefix, user, context, address)
            except (SMTPException, OSError) as error:
                logger.warning("the mail about a changed account could not be sent: %s", type(error).__name__)

    @sensitive_variables("password")
    def reauthenticate(self, user: User, password: str) -> bool:
        """As in allauth, by the user's own password alone; who is right stays signed in (`is_password_of`). It counts
        as a proof for five minutes, so its tries count with those of every step-up."""
        if not settings.LOCAL_PASSWORDS:
            return False
        try:
            take_try(user)
        except TooManyAttempts as error:
            raise ValidationError(str(error)) from None
        right = is_password_of(context.request, user, password)
        if right:
            give_try_back(user)
        return right

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """As in allauth. Who has nothing to show but his sign-in needs a fresh one, where allauth would ask nothing:
        without it he is led away by ImmediateHttpResponse."""
        ways = ways_of(context.request)
        if ways.signs_in_again:
            messages.warning(context.request, _(SIGN_IN_AGAIN))
            raise ImmediateHttpResponse(redirect("profile"))
        return ways.has_something and super().is_reauthentication_required(app=app, **kwargs)

    def get_reauthentication_methods(self, user: User) -> list[dict[str, Any]]:
        """Passwords are no proof where they open nothing."""
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        return [each for each in methods if settings.LOCAL_PASSWORDS or each["id"] != "reauthenticate"]

    def get_client_ip(self, request: HttpRequest) -> str:
        """Sign-in limits count the same address as codes do; behind a proxy allauth would count everyone as one."""
        return client_address(request) or "::"

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        to_backend = request.user.is_staff and settings.PORTAL_SURFACE != "members"
        return reverse("staff:home") if to_backend else reverse("home")


def _title() -> str:
    return str(settings.SITE_NAME or settings.PORTAL_TITLE)


class SocialAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Sign-in through the hosting company's own system. It is believed about the member's ID there, and about an
    e-mail address only where it says that it verified it; never about which account here an address belongs to."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True  # whoever the company lets in is its member

    def get_requests_session(self) -> requests.Session:
        session: requests.Session = super().get_requests_session()
        session.trust_env = False
        return session

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """1. The two answers of the company must speak of one person, by an ID that can be kept whole.
        2. A member whom the company's ID names already is that member; staff link theirs by hand, signed in.
        3. Nothing is linked to an account whose own address nobody confirmed: a stranger may have made it.
        4. An address that is not verified is not taken, and one that is another account's links nothing.
        """
        data = sociallogin.account.extra_data
        subjects = {str(part["sub"]) for name in ("userinfo", "id_token") if (part := data.get(name)) and "sub" in part}
        if len(subjects) > 1:
            self._refuse(request, _("The sign-in could not be completed. Please try again."))
        try:
            external_id = _member_id(sociallogin)
        except MemberIdUnfit as error:
            self._refuse(request, str(error))
        if sociallogin.is_existing:
            if sociallogin.user.pk:
                keep_external_id(user=sociallogin.user, external_id=external_id)
            return
        if sociallogin.state.get("process") == "connect":
            if request.user.is_authenticated and unconfirmed_address(request.user):
                text = _("Please confirm your e-mail address first: then you can connect the company's sign-in.")
                self._refuse(request, text, "account_email")
            return
        if known := member_of_company(external_id):
            sociallogin.connect(request, known)
            return
        self._take_address(request, sociallogin)

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        user: User = super().populate_user(request, sociallogin, data)
        try:
            external_id = _member_id(sociallogin)
        except MemberIdUnfit:  # `pre_social_login` is next, and refuses him
            return user
        if external_id and not User.objects.filter(external_id=external_id).exists():
            user.external_id = external_id
        return user

    def _take_address(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        verified = [address for address in sociallogin.email_addresses if address.verified]
        sociallogin.email_addresses = verified
        sociallogin.user.email = verified[0].email if verified else ""
        if not verified:
            return
        if address_is_taken(verified[0].email):
            self._refuse(
                request,
                _(
                    "An account with your e-mail address exists here already. "
                    "Sign in to it first, then connect it under Profile."
                ),
            )
        if free_address(email=verified[0].email):
            text = _(
                "Another account here named your e-mail address without confirming it, and names it no more. "
                "If that account is yours too, sign in to it with its user name."
            )
            messages.info(request, text)

    def _refuse(self, request: HttpRequest, text: str, page: str = "account_login") -> NoReturn:
        messages.error(request, text)
        raise ImmediateHttpResponse(redirect(page))


def _member_id(sociallogin: SocialLogin) -> str:
    """The member's ID in the company's own system, from the claim that the settings name; empty where it has none.

    Raises MemberIdUnfit for one that cannot be kept whole: cut short, two people's would be the same.
    """
    data = sociallogin.account.extra_data
    for part in (data.get("userinfo"), data.get("id_token")):
        found = part.get(settings.OIDC_MEMBER_ID_CLAIM) if part else None
        if found in (None, ""):
            continue
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise MemberIdUnfit
        text = str(found)
        if len(text) > MEMBER_ID_LENGTH or not text.isprintable():
            raise MemberIdUnfit
        return text
    return ""
