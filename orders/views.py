"""The member centre: the cards used, and the orders that came of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from accounts.models import User
from accounts.paging import KeysetPage
from cards import catalog
from cards.models import CardUse

from .access import shown_access
from .choices import FINAL, IN_FLIGHT, STUCK, OrderState, ServiceState
from .expectation import expected_time, in_words
from .models import Order, Service
from .sessions import signed_in_or_back_to


class MemberRequest(HttpRequest):
    """A request of somebody who is signed in."""

    user: User
    htmx: HtmxDetails


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


@never_cache
@require_POST
@signed_in_or_back_to("orders:detail")
@sensitive_variables("context")
def order_access(request: MemberRequest, number: str) -> HttpResponse:
    """The access details, only ever as the answer to a POST."""
    order = _own_order(request, number)
    context = _detail(order)
    if not context["has_access"]:
        raise Http404
    context |= shown_access(context["service"])
    return render(request, "member/_access.html" if request.htmx else "member/order_detail.html", context)
