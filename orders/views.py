"""The member centre: redeem a card, the cards used, the orders that came of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from accounts.actions import balance_of
from accounts.address import client_address
from accounts.exceptions import TooManyAttempts
from accounts.models import User
from accounts.paging import KeysetPage
from cards import catalog
from cards.choices import OSFamily
from cards.models import CardUse

from . import redemption
from .access import shown_access
from .choices import FINAL, IN_FLIGHT, STUCK, OrderState, ServiceState
from .exceptions import AlreadyYours
from .expectation import expected_time, in_words
from .forms import SERVER_WISHES, SITE_WISHES, CodeForm, ConfirmForm
from .models import Order, Service
from .wishes import Wishes

TOO_MANY = 429


class MemberRequest(HttpRequest):
    """A request of somebody who is signed in."""

    user: User
    htmx: HtmxDetails


class SeeOther(HttpResponseRedirect):
    status_code = 303


# --- Redeeming ------------------------------------------------------------------------------------------------------
@login_required
@never_cache
@sensitive_post_parameters("code", "password", "ssh_key")
@require_http_methods(["GET", "POST"])
def redeem(request: MemberRequest) -> HttpResponse:
    """The code, then what it is worth, then the order. Both steps POST: a code never stands in an address."""
    if request.method == "GET":
        return render(request, "member/redeem.html", {"form": CodeForm()})
    if request.POST.get("step") == "confirm":
        return _confirm(request)
    return _check(request)


@sensitive_variables("form")
def _check(request: MemberRequest) -> HttpResponse:
    form = CodeForm(request.POST)
    if not form.is_valid():
        return render(request, "member/redeem.html", {"form": form})
    return _offer(request, form.cleaned_data["code"])


@sensitive_variables("code", "form", "hero")
def _offer(request: MemberRequest, code: str, form: ConfirmForm | None = None) -> HttpResponse:
    """What the card is worth and what there is to choose; `form` brings back a choice that was refused."""
    try:
        preview = redemption.preview(code=code, member=request.user, address=client_address(request))
    except AlreadyYours as yours:
        return _to_own_order(request, yours)
    except redemption.REFUSALS as refusal:
        return _refuse(request, refusal)
    confirm = form or ConfirmForm(initial={"code": code})
    confirm.suit(preview.product_type)
    families = [
        (OSFamily(family).label, list(choices)) for family, choices in groupby(preview.choices, lambda c: c.family)
    ]
    chosen = str(confirm["image"].value() or "")
    choice = next((choice for choice in preview.choices if str(choice.image_id) == chosen), None)
    context = {
        "preview": preview,
        "product_icon": f"product-{preview.product_type}",
        "families": families,
        "form": confirm,
        "chosen": chosen,
        "choice": choice,
        "charge": choice.surcharge if choice else Decimal(0),
        "balance": balance_of(request.user) if any(choice.surcharge for choice in preview.choices) else None,
    }
    return render(request, "member/confirm.html", context)


@sensitive_variables("code", "form")
def _confirm(request: MemberRequest) -> HttpResponse:
    form = ConfirmForm(request.POST)
    valid = form.is_valid()
    code = form.cleaned_data.get("code", "")
    if not code:
        return _check(request)
    if not valid:
        return _offer(request, code, form)
    try:
        order = redemption.redeem(
            code=code,
            member=request.user,
            image_id=form.cleaned_data["image"],
            agreed=form.cleaned_data["agreed"] or Decimal(0),
            wishes=Wishes(**{name: form.cleaned_data[name] for name in (*SERVER_WISHES, *SITE_WISHES)}),
            address=client_address(request),
        )
    except AlreadyYours as yours:
        return _to_own_order(request, yours)
    except redemption.REFUSALS as refusal:
        field = "code" if isinstance(refusal, TooManyAttempts) else getattr(refusal, "field", "image")
        if field == "code":
            return _refuse(request, refusal)
        form.add_error(field, str(refusal))
        return _offer(request, code, form)
    return SeeOther(reverse("orders:detail", args=[order.number]))


@sensitive_variables("form")
def _refuse(request: MemberRequest, refusal: Exception) -> HttpResponse:
    """The field again, as it was typed, with the refusal beside it."""
    form = CodeForm(request.POST)
    form.is_valid()
    form.add_error("code", str(refusal))
    status = TOO_MANY if isinstance(refusal, TooManyAttempts) else 200
    return render(request, "member/redeem.html", {"form": form}, status=status)


def _to_own_order(request: MemberRequest, yours: AlreadyYours) -> HttpResponse:
    messages.info(request, str(yours))
    return SeeOther(reverse("orders:detail", args=[yours.order.number]))


# --- Cards and orders -----------------------------------------------------------------------------------------------
@login_required
@require_GET
def cards(request: MemberRequest) -> HttpResponse:
    """提货卡: the cards this member has used."""
    uses = CardUse.objects.filter(member=request.user, returned_at__isnull=True).select_related("card", "batch")
    return render(request, "member/card_list.html", {"page": KeysetPage(uses, request)})


@login_required
@require_GET
def order_list(request: MemberRequest) -> HttpResponse:
    orders = Order.objects.filter(member=request.user)
    return render(request, "member/order_list.html", {"page": KeysetPage(orders, request)})


@dataclass(frozen=True)
class Step:
    """One dot of the progress stepper; `mark` is done, current, stopped or todo."""

    label: str
    mark: str


def steps_of(order: Order) -> list[Step]:
    labels = [OrderState.PENDING.label, OrderState.PROVISIONING.label, OrderState.ACTIVE.label]
    marks = {
        OrderState.PENDING: ["current", "todo", "todo"],
        OrderState.PROVISIONING: ["done", "current", "todo"],
        OrderState.ACTIVE: ["done", "done", "done"],
        OrderState.NEEDS_ATTENTION: ["done", "stopped", "todo"],
        OrderState.FAILED: ["done", "stopped", "todo"],
    }.get(OrderState(order.state), [])
    return [Step(str(label), mark) for label, mark in zip(labels, marks, strict=False)]


def _own_order(request: MemberRequest, number: str) -> Order:
    orders = Order.objects.select_related("service", "card", "returned_card", "line")
    return get_object_or_404(orders, number=number, member=request.user)


def _service_of(order: Order) -> Service | None:
    service: Service | None = getattr(order, "service", None)
    return service if order.state == OrderState.ACTIVE else None


def _live(order: Order) -> dict[str, Any]:
    """What the part of the page that keeps itself up to date needs; `seen` changes whenever it would look different."""
    events = list(order.events.all())
    service = _service_of(order)
    return {
        "order": order,
        "events": events,
        "steps": steps_of(order),
        "service": service,
        "has_access": service is not None and service.state != ServiceState.TERMINATED,
        "polls": order.state not in FINAL,
        "in_flight": order.state in IN_FLIGHT,
        "stuck": order.state in STUCK,
        "expected": in_words(expected_time(order.product_type)) if order.state in IN_FLIGHT else "",
        "seen": f"{order.state}-{len(events)}",
        "access_url": reverse("orders:access", args=[order.number]),
        "hide_url": reverse("orders:detail", args=[order.number]),
    }


def _detail(order: Order) -> dict[str, Any]:
    configuration = catalog.describe(order.product_type, order.spec)
    return _live(order) | {"configuration": configuration, "shown_card": order.card or order.returned_card}


@login_required
@never_cache
@require_GET
def order_detail(request: MemberRequest, number: str) -> HttpResponse:
    return render(request, "member/order_detail.html", _detail(_own_order(request, number)))


@never_cache
@require_GET
def order_status(request: MemberRequest, number: str) -> HttpResponse:
    """The live part alone. 204 when it looks as the page says it has seen it, so that nothing flickers."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()  # not the sign-in page in place of the fragment
    context = _live(_own_order(request, number))
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "member/_live.html", context)


@login_required
@never_cache
@require_POST
@sensitive_variables("context")
def order_access(request: MemberRequest, number: str) -> HttpResponse:
    """The access details, only ever as the answer to a POST."""
    order = _own_order(request, number)
    context = _detail(order)
    if not context["has_access"]:
        raise Http404
    context |= shown_access(context["service"])
    return render(request, "member/_access.html" if request.htmx else "member/order_detail.html", context)
