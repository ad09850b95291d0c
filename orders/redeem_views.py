"""Redeeming a card, by the member himself or by staff for him: the code, what it is worth, the order.

Both steps POST: a code never stands in an address.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from accounts.actions import balance_of
from accounts.address import client_address
from accounts.exceptions import BalanceTooLow, TooManyAttempts
from accounts.models import User
from accounts.money import shown
from cards.choices import OSFamily
from cards.views.access import StaffRequest, staff_view

from . import redemption
from .exceptions import AlreadyYours, RedemptionRefused
from .forms import SERVER_WISHES, SITE_WISHES, BehalfForm, ChargeForm, CodeForm, ConfirmForm
from .wishes import Wishes

TOO_MANY = 429


class SeeOther(HttpResponseRedirect):
    status_code = 303


@dataclass(frozen=True)
class Desk:
    """For whom the card is, who acts, and the pages it happens on."""

    member: User
    actor: User | None = None
    note: str = ""
    code_page: str = "member/redeem.html"
    offer_page: str = "member/confirm.html"
    order_view: str = "orders:detail"
    extra: dict[str, Any] = field(default_factory=dict)  # what the pages need besides

    def page(self, request: HttpRequest, name: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
        return render(request, name, self.extra | context, status=status)

    def to_order(self, number: str) -> HttpResponse:
        return SeeOther(reverse(self.order_view, args=[number]))


@login_required
@never_cache
@sensitive_post_parameters("code", "password", "ssh_key")
@require_http_methods(["GET", "POST"])
def redeem(request: HttpRequest) -> HttpResponse:
    """The member's own."""
    assert isinstance(request.user, User)  # noqa: S101  (for the type checker: login_required saw to it)
    desk = Desk(member=request.user)
    if request.method == "GET":
        return desk.page(request, desk.code_page, {"form": CodeForm()})
    return _serve(request, desk)


@staff_view("orders.view_order")
@staff_view("orders.redeem_for_member")
@sensitive_post_parameters("code", "password", "ssh_key", "proof-password", "proof-second_factor")
@require_http_methods(["GET", "POST"])
def redeem_for_member(request: StaffRequest) -> HttpResponse:
    """Staff, for the member whom they name, with a reason; both go with the code through the steps. Who spends the
    member's balance proves that it is he."""
    behalf = BehalfForm(request.POST if request.method == "POST" else None)
    pages = {"code_page": "staff/redeem.html", "offer_page": "staff/redeem_confirm.html"}
    if request.method == "GET" or not behalf.is_valid():
        form = CodeForm(request.POST or None)
        return render(request, pages["code_page"], {"form": form, "behalf": behalf})
    desk = Desk(
        member=behalf.found,
        actor=request.user,
        note=behalf.cleaned_data["note"],
        order_view="staff-orders:detail",
        extra={"behalf": behalf, "member": behalf.found},
        **pages,
    )
    return _serve(request, desk)


def _serve(request: HttpRequest, desk: Desk) -> HttpResponse:
    step: Callable[[HttpRequest, Desk], HttpResponse] = _confirm if request.POST.get("step") == "confirm" else _check
    return step(request, desk)


@sensitive_variables("form")
def _check(request: HttpRequest, desk: Desk) -> HttpResponse:
    form = CodeForm(request.POST)
    if not form.is_valid():
        return desk.page(request, desk.code_page, {"form": form})
    return _offer(request, desk, form.cleaned_data["code"])


@sensitive_variables("code", "form", "confirm", "proof")
def _offer(
    request: HttpRequest,
    desk: Desk,
    code: str,
    form: ConfirmForm | None = None,
    proof: ChargeForm | None = None,
) -> HttpResponse:
    """What the card is worth and what there is to choose; `form` and `proof` bring back what was refused."""
    try:
        preview = redemption.preview(code=code, member=desk.member, address=client_address(request), actor=desk.actor)
    except AlreadyYours as yours:
        return _to_own_order(request, desk, yours)
    except redemption.REFUSALS as refusal:
        return _refuse(request, desk, refusal)
    confirm = form or ConfirmForm(initial={"code": code})
    confirm.suit(preview.product_type)
    families = [
        (OSFamily(family).label, list(choices)) for family, choices in groupby(preview.choices, lambda c: c.family)
    ]
    chosen = str(confirm["image"].value() or "")
    choice = next((choice for choice in preview.choices if str(choice.image_id) == chosen), None)
    costs = any(choice.surcharge for choice in preview.choices)
    context = {
        "preview": preview,
        "product_icon": f"product-{preview.product_type}",
        "families": families,
        "form": confirm,
        "chosen": chosen,
        "choice": choice,
        "charge": choice.surcharge if choice else Decimal(0),
        "balance": balance_of(desk.member) if costs else None,
        "proof": (proof or ChargeForm(request=request)) if costs and desk.actor else None,
    }
    return desk.page(request, desk.offer_page, context)


@sensitive_variables("code", "form", "proof")
def _confirm(request: HttpRequest, desk: Desk) -> HttpResponse:
    form = ConfirmForm(request.POST)
    valid = form.is_valid()
    code = form.cleaned_data.get("code", "")
    if not code:
        return _check(request, desk)
    if not valid:
        return _offer(request, desk, code, form)
    agreed = form.cleaned_data["agreed"] or Decimal(0)  # only what was agreed to can be charged
    if desk.actor and agreed:
        proof = ChargeForm(request.POST, request=request)
        if not proof.is_valid():
            return _offer(request, desk, code, form, proof)
    try:
        order = redemption.redeem(
            code=code,
            member=desk.member,
            image_id=form.cleaned_data["image"],
            agreed=agreed,
            wishes=Wishes(**{name: form.cleaned_data[name] for name in (*SERVER_WISHES, *SITE_WISHES)}),
            address=client_address(request),
            actor=desk.actor,
            note=desk.note,
        )
    except AlreadyYours as yours:
        return _to_own_order(request, desk, yours)
    except redemption.REFUSALS as refusal:
        faults = _faults(refusal, desk)
        if "code" in faults:
            return _refuse(request, desk, refusal)
        for name, says in faults.items():
            form.add_error(name, says)
        return _offer(request, desk, code, form)
    return desk.to_order(order.number)


def _faults(refusal: Exception, desk: Desk) -> dict[str, str]:
    """{field: what is wrong with it}."""
    if isinstance(refusal, RedemptionRefused):
        return {part.field: str(part) for part in refusal.parts()}
    if isinstance(refusal, BalanceTooLow) and desk.actor:
        says = _("The balance of %(name)s is %(missing)s short. Nothing was charged; the card has not been used.")
        return {"image": says % {"name": desk.member.username, "missing": shown(refusal.missing)}}
    return {"code" if isinstance(refusal, TooManyAttempts) else "image": str(refusal)}


@sensitive_variables("form")
def _refuse(request: HttpRequest, desk: Desk, refusal: Exception) -> HttpResponse:
    """The field again, as it was typed, with the refusal beside it."""
    form = CodeForm(request.POST)
    form.is_valid()
    form.add_error("code", str(refusal))
    response = desk.page(request, desk.code_page, {"form": form})
    if isinstance(refusal, TooManyAttempts):
        response.status_code = TOO_MANY
        response["Retry-After"] = str(math.ceil(refusal.wait.total_seconds()))
    return response


def _to_own_order(request: HttpRequest, desk: Desk, yours: AlreadyYours) -> HttpResponse:
    text = _("This member has used this card already. This is its order.") if desk.actor else str(yours)
    messages.info(request, text)
    return desk.to_order(yours.order.number)
