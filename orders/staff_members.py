"""Staff pages about members: find one, see his cards, orders, services and ledger, top him up, shut him out."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, OuterRef, Q, Subquery
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods

from accounts.actions import balance_of
from accounts.address import client_address
from accounts.choices import LedgerKind
from accounts.models import LedgerEntry, User
from accounts.paging import KeysetPage
from accounts.search import find_members
from cards.models import CardUse
from cards.views.access import StaffRequest, staff_view, without_codes

from . import member_actions as actions
from .choices import IN_FLIGHT, STUCK, ServiceState
from .deeds import Deed, deed_page, sum_of
from .models import Order, Service
from .staff_forms import CorrectionForm, DeedForm, MemberFilter, TopUpForm

MEMBERS_A_PAGE = 20
COUNTED = 1000  # newest orders of a member that are counted, so that his page costs the same however many he has
SHOWN = 10  # rows of each kind on a member's page; the lists behind them show all


@staff_view("accounts.view_user")
@require_GET
@without_codes()
def member_list(request: StaffRequest) -> HttpResponse:
    form = MemberFilter(request.GET)
    form.is_valid()
    chosen = {name: value for name, value in form.cleaned_data.items() if value}
    members = find_members(chosen["q"]) if "q" in chosen else User.objects.filter(is_staff=False)
    if "state" in chosen:
        members = members.filter(is_active=chosen["state"] == "active")
    newest = LedgerEntry.objects.filter(member=OuterRef("pk")).order_by("-sequence").values("balance_after")[:1]
    page = KeysetPage(members.annotate(balance=Subquery(newest)), request, size=MEMBERS_A_PAGE)
    return render(request, "staff/member_list.html", {"form": form, "page": page, "narrowed": bool(chosen)})


@staff_view("accounts.view_user")
@require_GET
def member_detail(request: StaffRequest, pk: int) -> HttpResponse:
    member = _member(pk)
    see_orders, see_money = (
        request.user.has_perm("orders.view_order"),
        request.user.has_perm("accounts.view_ledgerentry"),
    )
    context: dict[str, Any] = {"member": member}
    if request.user.has_perm("cards.view_carduse"):
        uses = CardUse.objects.filter(member=member).select_related("batch", "card")
        context["uses"] = uses.defer("batch__wrapped_key", "card__sealed", "card__lookup").order_by("-id")[:SHOWN]
    if see_orders:
        orders = Order.objects.filter(member=member)
        context |= {
            "orders": orders.order_by("-id")[:SHOWN],
            "counts": orders.order_by("-id")[: COUNTED + 1].aggregate(
                all=Count("pk"),
                open=Count("pk", filter=Q(state__in=IN_FLIGHT)),
                stuck=Count("pk", filter=Q(state__in=STUCK)),
            ),
            "counted": COUNTED,
        }
    if request.user.has_perm("orders.view_service"):
        context["services"] = Service.objects.filter(member=member).select_related("order").order_by("-id")[:SHOWN]
    if see_money:
        ledger = LedgerEntry.objects.filter(member=member).select_related("created_by")
        page = KeysetPage(ledger, request, size=SHOWN)
        context |= {"balance": balance_of(member), "page": page}
        if request.user.has_perm("accounts.correct_top_up"):
            context["correctable"] = _correctable(list(page))
    return render(request, "staff/member_detail.html", context)


@staff_view("accounts.top_up")
@require_http_methods(["GET", "POST"])
def member_top_up(request: StaffRequest, pk: int) -> HttpResponseBase:
    member = _member(pk)
    form = TopUpForm(request.POST or None, request=request)
    balance = balance_of(member)
    deed = Deed(
        title=_("Top up %(name)s") % {"name": member.username},
        button=_("Top up"),
        says=[
            _("The balance is %(balance)s now.") % {"balance": sum_of(balance)},
            _("The entry stays in the ledger for good; the member sees it at once."),
        ],
        back=_page_of(member),
        trail=_trail(member),
    )

    def act() -> str:
        data = form.cleaned_data
        entry = actions.top_up(
            member=member,
            amount=data["amount"],
            reason=data["reason"],
            actor=request.user,
            token=data["token"],
            address=client_address(request),
        )
        return _("%(amount)s were added. The balance is %(balance)s.") % {
            "amount": sum_of(entry.amount),
            "balance": sum_of(entry.balance_after),
        }

    return deed_page(request, deed, form, act)


@staff_view("accounts.correct_top_up")
@require_http_methods(["GET", "POST"])
def member_correct(request: StaffRequest, pk: int, entry: int) -> HttpResponseBase:
    """Take a mistaken top-up back: the entry stays, another one answers it."""
    member = _member(pk)
    top_up = get_object_or_404(LedgerEntry, pk=entry, member=member, kind=LedgerKind.TOP_UP)
    form = CorrectionForm(request.POST or None, request=request, most=top_up.amount)
    deed = Deed(
        title=_("Correct a top-up of %(name)s") % {"name": member.username},
        button=_("Take back"),
        says=[
            _("On %(day)s %(amount)s were added.")
            % {"day": f"{timezone.localtime(top_up.created_at):%Y-%m-%d}", "amount": sum_of(top_up.amount)},
            _("The balance is %(balance)s now.") % {"balance": sum_of(balance_of(member))},
            _("Both entries stay in the ledger for good; the member sees them. A top-up is corrected once."),
        ],
        back=_page_of(member),
        trail=_trail(member),
        danger=True,
    )

    def act() -> str:
        made = actions.correct_top_up(
            entry=top_up,
            amount=form.cleaned_data["amount"],
            reason=form.cleaned_data["reason"],
            actor=request.user,
            address=client_address(request),
        )
        return _("%(amount)s were taken back. The balance is %(balance)s.") % {
            "amount": sum_of(-made.amount),
            "balance": sum_of(made.balance_after),
        }

    return deed_page(request, deed, form, act)


@staff_view("accounts.disable_member")
@require_http_methods(["GET", "POST"])
def member_switch(request: StaffRequest, pk: int, *, disable: bool) -> HttpResponseBase:
    member, form = _member(pk), DeedForm(request.POST or None)
    running = Service.objects.filter(member=member).exclude(state=ServiceState.TERMINATED).count()
    if disable:
        says = [
            _("%(name)s cannot sign in any more, and is signed out everywhere at once.") % {"name": member.username},
            _("Nothing that is his is taken: the balance of %(balance)s stays.")
            % {"balance": sum_of(balance_of(member))},
            ngettext("%(n)d service goes on running.", "%(n)d services go on running.", running) % {"n": running},
            _("It can be undone at any time."),
        ]
    else:
        says = [_("%(name)s can sign in again, with the password of before.") % {"name": member.username}]
    deed = Deed(
        title=(_("Disable %(name)s") if disable else _("Enable %(name)s")) % {"name": member.username},
        button=_("Disable") if disable else _("Enable"),
        says=says,
        back=_page_of(member),
        trail=_trail(member),
        danger=disable,
    )

    def act() -> str:
        do = actions.disable_member if disable else actions.enable_member
        do(member=member, reason=form.cleaned_data["reason"], actor=request.user, address=client_address(request))
        done = _("%(name)s is disabled.") if disable else _("%(name)s is enabled.")
        return done % {"name": member.username}

    return deed_page(request, deed, form, act)


def _correctable(entries: list[LedgerEntry]) -> set[int]:
    """The keys of the top-ups among them that nobody has corrected."""
    answers = {actions.correction_reference(each): each.pk for each in entries if each.kind == LedgerKind.TOP_UP}
    made = LedgerEntry.objects.filter(kind=LedgerKind.CORRECTION, reference__in=answers)
    for reference in made.values_list("reference", flat=True):
        del answers[reference]
    return set(answers.values())


def _member(pk: int) -> User:
    return get_object_or_404(User, pk=pk, is_staff=False)


def _page_of(member: User) -> str:
    return reverse("staff-orders:member", args=[member.pk])


def _trail(member: User) -> list[tuple[str, str]]:
    return [(_("Members"), reverse("staff-orders:member-list")), (member.username, _page_of(member))]
