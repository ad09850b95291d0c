"""Staff pages about orders: find one, see everything that happened to it, restart it, or give the card back."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.address import client_address
from accounts.models import User
from accounts.paging import KeysetPage
from accounts.search import keys_of_members
from cards import catalog
from cards.list_pages import Sorting, csv_of, in_days, moment, timed
from cards.views.access import StaffRequest, last4_for, staff_view, without_codes

from . import actions
from .choices import IN_FLIGHT, STUCK
from .deeds import Deed, deed_page, sum_of
from .domain_actions import retry_change
from .exceptions import OrderError
from .forms import NoteForm, OrderFilterForm
from .models import Order
from .probe import attempt_says, lacked_capacity, next_step
from .staff_forms import ProvenDeedForm, SettleForm

ORDERS_A_PAGE = 50
MOST_STUCK = 10
MOST_NAMED = 200  # orders whose numbers begin alike


@staff_view("orders.view_order")
@require_GET
@without_codes()
def order_list(request: StaffRequest) -> HttpResponse:
    form = OrderFilterForm(request.GET)
    chosen = form.chosen()
    sorting = Sorting(request, {"id": "pk"})
    page = KeysetPage(_filtered(chosen), request, size=ORDERS_A_PAGE, ascending=sorting.ascending)
    context = {
        "form": form,
        "page": page,
        "narrowed": bool(chosen),
        "sorting": sorting,
        "headings": sorting.headings(),
        "csv_url": reverse("staff-orders:csv"),
    }
    if not chosen and page.previous_query is None:  # those that wait for a person stand above the first page
        stuck = Order.objects.filter(state__in=STUCK)
        context |= {"stuck": stuck.select_related("member").order_by("pk")[:MOST_STUCK], "stuck_count": stuck.count()}
    return render(request, "staff/order_list.html", context)


@staff_view("orders.view_order")
@require_POST
def order_csv(request: StaffRequest) -> HttpResponseBase:
    """The list as it is filtered; of a card its last four characters, for whoever may see them."""
    columns = (
        *(_("Pickup order"), _("Member ID"), _("Business type"), _("Card name"), _("Line"), _("Pickup card")),
        *(
            _("State"),
            _("Attempts"),
            _("Windows surcharge"),
            _("Currency"),
            timed(_("Picked up at")),
            timed(_("Opened at")),
        ),
    )
    orders = _filtered(OrderFilterForm(request.GET).chosen()).select_related("line")
    return csv_of(
        request, orders, name="orders", columns=columns, cells=partial(_cells, request.user), actor=request.user
    )


def _cells(reader: User, order: Order) -> list[object]:
    card = order.card or order.returned_card
    return [
        *(order.number, order.member.member_id, order.get_product_type_display(), order.product_name),
        *(order.line.name, last4_for(reader, card), order.get_state_display(), order.attempts),
        *(order.surcharge, order.currency, moment(order.created_at), moment(order.opened_at)),
    ]


def _filtered(chosen: dict[str, Any]) -> QuerySet[Order]:
    orders = Order.objects.select_related("member", "card", "returned_card").defer(
        "login", "card__sealed", "card__lookup", "returned_card__sealed", "returned_card__lookup"
    )
    if "state" in chosen:
        orders = orders.filter(state__in=STUCK if chosen["state"] == "stuck" else [chosen["state"]])
    if "type" in chosen:
        orders = orders.filter(product_type=chosen["type"])
    if "line" in chosen:
        orders = orders.filter(line=chosen["line"])
    if "q" in chosen:
        named = Order.objects.filter(number__startswith=chosen["q"].upper()).order_by("-pk")
        numbers = list(named.values_list("pk", flat=True)[:MOST_NAMED])
        orders = orders.filter(Q(pk__in=numbers) | Q(member__in=keys_of_members(chosen["q"])))
    narrowed: QuerySet[Order] = in_days(orders, "created_at", chosen)
    return narrowed


@staff_view("orders.view_order")
@require_GET
def order_detail(request: StaffRequest, number: str) -> HttpResponse:
    order = _order(number)
    attempts = list(order.provisioning_attempts.all())
    context = {
        "order": order,
        "shown_card": order.card or order.returned_card,
        "service": getattr(order, "service", None),
        "configuration": catalog.describe(order.product_type, order.spec),
        "events": order.events.select_related("actor"),
        "attempts": [(attempt, attempt_says(attempt)) for attempt in attempts],
        "next_step": next_step(attempts[-1]) if attempts else "",
        "stuck": order.state in STUCK,
        "short": order.state in IN_FLIGHT and bool(attempts) and lacked_capacity(attempts[-1]),
        "note_form": NoteForm(),
        "waiting_domain": order.domain_changes.filter(done_at__isnull=True, next_attempt_at__isnull=True).first(),
    }
    return render(request, "staff/order_detail.html", context)


@staff_view("orders.view_order")
@staff_view("orders.retry_order")
@require_POST
def retry(request: StaffRequest, number: str) -> HttpResponse:
    order, form = _order(number), NoteForm(request.POST)
    note = form.cleaned_data["note"] if form.is_valid() else ""
    try:
        actions.retry_order(order=order, actor=request.user, note=note, address=client_address(request))
    except OrderError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("The order has been restarted."))
    return redirect("staff-orders:detail", number=order.number)


@staff_view("orders.view_order")
@staff_view("orders.retry_order")
@require_POST
def retry_domain(request: StaffRequest, number: str) -> HttpResponse:
    """Bring a domain to its provider again that was given up."""
    order = _order(number)
    if retry_change(order=order, actor=request.user, address=client_address(request)):
        messages.success(request, _("The domain is being set."))
    else:
        messages.info(request, _("No change of its domain waits any more."))
    return redirect("staff-orders:detail", number=order.number)


@staff_view("orders.view_order")
@staff_view("orders.return_card")
@require_http_methods(["GET", "POST"])
def cancel(request: StaffRequest, number: str) -> HttpResponseBase:
    """The card's worth goes back to whoever holds its code, and a surcharge to the member's balance."""
    order = _order(number)
    page = reverse("staff-orders:detail", args=[number])
    if order.state not in STUCK:
        messages.error(request, _("Only an order that failed or needs attention can be cancelled."))
        return redirect(page)
    form = ProvenDeedForm(request.POST or None, request=request)
    says = [
        _about(order),
        _("Whatever was made for it at the provisioner is removed first; if that fails, nothing is cancelled."),
        _("Its card, which ends in %(last4)s, can be used again by whoever holds its code.") % {"last4": last4}
        if order.card and (last4 := last4_for(request.user, order.card).lstrip("…"))
        else _("Its card can be used again by whoever holds its code."),
        _("Nothing more is opened for this order, and it cannot be restarted."),
    ]
    if order.surcharge:
        says.insert(3, _("The surcharge of %(amount)s goes back to the balance.") % {"amount": sum_of(order.surcharge)})
    title = _("Cancel and return the card")
    trail, keep = _trail(number, page), _("Keep the order")
    deed = Deed(title=title, button=title, says=says, back=page, trail=trail, danger=True, keep=keep)

    def act() -> str:
        note = form.cleaned_data["reason"]
        actions.cancel_order(order=order, actor=request.user, note=note, address=client_address(request))
        return _("The order is cancelled and the card can be used again.")

    return deed_page(request, deed, form, act)


@staff_view("orders.view_order")
@staff_view("orders.resolve_order")
@require_http_methods(["GET", "POST"])
def settle(request: StaffRequest, number: str) -> HttpResponseBase:
    """An order that got stuck was settled past the portal: say how, in a note."""
    order = _order(number)
    page = reverse("staff-orders:detail", args=[number])
    if order.state not in STUCK:
        messages.error(request, _("Only an order that failed or needs attention can be settled by hand."))
        return redirect(page)
    form = SettleForm(request.POST or None, request=request, surcharge=order.surcharge)
    says = [
        _about(order),
        _("The portal does nothing more for it, and it cannot be restarted. The card stays used."),
    ]
    if order.surcharge:
        says.append(_("The member paid a Windows surcharge of %(amount)s.") % {"amount": sum_of(order.surcharge)})
    deed = Deed(
        title=_("Mark as settled"),
        button=_("Mark as settled"),
        says=says,
        back=page,
        trail=_trail(number, page),
    )

    @sensitive_variables("data")
    def act() -> str:
        data = form.cleaned_data
        actions.resolve_order(
            order=order,
            actor=request.user,
            note=data["reason"],
            external_id=data["external_id"].strip() if data["how"] == "opened" else "",
            access=form.access(),
            refund=data["how"] == "refund",
            address=client_address(request),
        )
        return _("The order is settled.")

    return deed_page(request, deed, form, act)


def _about(order: Order) -> str:
    about = {"number": order.number, "name": order.product_name, "member": order.member.username}
    return _("Order %(number)s, %(name)s, member %(member)s.") % about


def _trail(number: str, page: str) -> list[tuple[str, str]]:
    return [(_("Pickup orders"), reverse("staff-orders:list")), (number, page)]


def _order(number: str) -> Order:
    orders = Order.objects.select_related("member", "card", "returned_card", "batch", "line", "service")
    return get_object_or_404(orders, number=number)
