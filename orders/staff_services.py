"""Staff pages about services: what runs, until when, what the provider shows; suspend, resume, extend, terminate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from accounts.address import client_address
from accounts.paging import KeysetPage
from accounts.search import keys_of_members
from cards import catalog
from cards.days import start_of
from cards.views.access import StaffRequest, staff_view, without_codes

from . import actions
from .choices import ServiceState
from .deeds import Deed, deed_page
from .facts import shown_facts
from .models import Order, Service
from .probe import change_says
from .staff_forms import DeedForm, ExtendServiceForm, ProvenDeedForm, ServiceFilter

SERVICES_A_PAGE = 50


@staff_view("orders.view_service")
@require_GET
@without_codes()
def service_list(request: StaffRequest) -> HttpResponse:
    form = ServiceFilter(request.GET)
    form.is_valid()
    chosen = {name: value for name, value in form.cleaned_data.items() if value}
    services = Service.objects.select_related("order", "member").defer("access", "order__login")
    if "state" in chosen:
        services = services.filter(state=chosen["state"])
    if "attention" in chosen:
        services = services.unsettled()
    if "q" in chosen:
        orders = list(Order.objects.filter(number=chosen["q"].upper()).values_list("pk", flat=True))
        services = services.filter(Q(order__in=orders) | Q(member__in=keys_of_members(chosen["q"])))
    context = {
        "form": form,
        "page": KeysetPage(services, request, size=SERVICES_A_PAGE),
        "narrowed": bool(chosen),
        "stuck": Service.objects.unsettled().count(),
    }
    return render(request, "staff/service_list.html", context)


@staff_view("orders.view_service")
@require_GET
def service_detail(request: StaffRequest, number: str) -> HttpResponse:
    service = _service(number)
    context = {
        "service": service,
        "order": service.order,
        "configuration": catalog.describe(service.order.product_type, service.order.spec),
        "facts": shown_facts(service.order.product_type, service.facts, service.order.spec),
        "trouble": change_says(service),
        "drifts": Service.objects.drifting().filter(pk=service.pk).exists(),
        "changing": service.state != service.wanted and not service.needs_attention,
        "wanted": ServiceState(service.wanted).label,
        "expired": service.expires_at <= timezone.now(),
        "events": service.order.events.select_related("actor"),
    }
    return render(request, "staff/service_detail.html", context)


@staff_view("orders.suspend_service")
@require_http_methods(["GET", "POST"])
def service_suspend(request: StaffRequest, number: str) -> HttpResponseBase:
    service, form = _service(number), DeedForm(request.POST or None)
    says = [
        _("The service stops, and the member is told so on its page."),
        _("Its data stays; it can be resumed until its term ends."),
        _("Its term goes on running."),
    ]
    deed = _deed(service, _("Suspend the service"), says, danger=True)

    def act() -> str:
        actions.suspend_service(service=service, **_who(request, form))
        return _("The service is being suspended.")

    return deed_page(request, deed, form, act)


@staff_view("orders.suspend_service")
@require_http_methods(["GET", "POST"])
def service_resume(request: StaffRequest, number: str) -> HttpResponseBase:
    service, form = _service(number), DeedForm(request.POST or None)
    deed = _deed(service, _("Resume the service"), [_("The service runs again, with its data as it was.")])

    def act() -> str:
        actions.resume_service(service=service, **_who(request, form))
        return _("The service is being resumed.")

    return deed_page(request, deed, form, act)


@staff_view("orders.terminate_service")
@require_http_methods(["GET", "POST"])
def service_terminate(request: StaffRequest, number: str) -> HttpResponseBase:
    service, form = _service(number), ProvenDeedForm(request.POST or None, request=request)
    says = [
        _("The product and all its data are removed at the provisioner. Nothing brings them back."),
        _("The card of order %(number)s stays used.") % {"number": number},
    ]
    deed = _deed(service, _("Terminate the service"), says, danger=True)

    def act() -> str:
        actions.terminate_service(service=service, **_who(request, form))
        return _("The service is being terminated.")

    return deed_page(request, deed, form, act)


@staff_view("orders.suspend_service")
@require_http_methods(["GET", "POST"])
def service_extend(request: StaffRequest, number: str) -> HttpResponseBase:
    service, form = _service(number), ExtendServiceForm(request.POST or None, request=request)
    says = [_("A later end only; one that is suspended stays so until it is resumed.")]
    deed = _deed(service, _("Extend the service"), says)

    def act() -> str:
        until = start_of(form.cleaned_data["last_day"] + timedelta(days=1))
        actions.extend_service(service=service, until=until, **_who(request, form))
        return _("The service runs until the end of %(day)s.") % {"day": form.cleaned_data["last_day"]}

    return deed_page(request, deed, form, act)


@staff_view("orders.suspend_service")
@require_http_methods(["GET", "POST"])
def service_settle(request: StaffRequest, number: str) -> HttpResponseBase:
    service, form = _service(number), DeedForm(request.POST or None)
    wanted = ServiceState(service.wanted).label
    says = [
        _("The portal could not bring the provisioner to this state: %(state)s.") % {"state": wanted},
        _("You say that you have done so by hand; the portal believes it and looks again later."),
    ]
    deed = _deed(service, _("Mark as done by hand"), says)

    def act() -> str:
        actions.settle_service(service=service, **_who(request, form))
        return _("It is noted as done.")

    return deed_page(request, deed, form, act)


def _who(request: StaffRequest, form: Any) -> dict[str, Any]:
    return {"actor": request.user, "reason": form.cleaned_data["reason"], "address": client_address(request)}


def _service(number: str) -> Service:
    services = Service.objects.select_related("order__batch", "order__line", "member").defer("access", "order__login")
    return get_object_or_404(services, order__number=number)


def _deed(service: Service, title: str, says: list[str], *, danger: bool = False) -> Deed:
    number = service.order.number
    page = reverse("staff-orders:service", args=[number])
    about = _("Order %(number)s, %(name)s, member %(member)s.") % {
        "number": number,
        "name": service.order.product_name,
        "member": service.member.username,
    }
    return Deed(
        title=title,
        button=title,
        says=[about, *says],
        back=page,
        trail=[(_("Services"), reverse("staff-orders:service-list")), (number, page)],
        danger=danger,
    )
