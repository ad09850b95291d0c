"""The member's services: what runs, until when, how to get in, and under which domain a site answers."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.address import client_address
from accounts.paging import KeysetPage
from cards import catalog

from .access import shown_access
from .choices import ServiceState
from .domain_actions import change_domain
from .exceptions import OrderError, RedemptionRefused
from .facts import shown_facts
from .forms import DomainForm
from .models import Service
from .redeem_views import SeeOther
from .sessions import signed_in_or_back_to
from .views import MemberRequest

ENDS_SOON_DAYS = 30


@login_required
@require_GET
def service_list(request: MemberRequest) -> HttpResponse:
    services = Service.objects.filter(member=request.user).select_related("order")
    page = KeysetPage(services, request)
    rows = [(service, _days_left(service)) for service in page]
    return render(request, "member/service_list.html", {"page": page, "rows": rows})


@login_required
@never_cache
@require_GET
def service_detail(request: MemberRequest, number: str) -> HttpResponse:
    return render(request, "member/service_detail.html", _detail(_own_service(request, number)))


@never_cache
@require_POST
@signed_in_or_back_to("orders:service")
@sensitive_variables("context")
def service_access(request: MemberRequest, number: str) -> HttpResponse:
    """The access details, only ever as the answer to a POST."""
    service = _own_service(request, number)
    if service.state == ServiceState.TERMINATED:
        raise Http404
    context = _detail(service) | shown_access(service)
    return render(request, "member/_access.html" if request.htmx else "member/service_detail.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def service_domain(request: MemberRequest, number: str) -> HttpResponse:
    """A site's own domain, now that it is open."""
    service = _own_service(request, number)
    order = service.order
    if not order.domain:
        raise Http404
    own = order.shown_domain if order.domain != order.hostname else ""
    form = DomainForm(request.POST or None, initial={"domain": own})
    if request.method == "POST" and form.is_valid():
        try:
            changed = change_domain(
                order=order,
                domain=form.cleaned_data["domain"],
                actor=request.user,
                address=client_address(request),
            )
        except (OrderError, RedemptionRefused) as refusal:
            form.add_error("domain", str(refusal))
        else:
            messages.success(request, _("The domain is being set.") if changed else _("The domain stays as it is."))
            return SeeOther(reverse("orders:service", args=[order.number]))
    return render(request, "member/service_domain.html", _detail(service) | {"form": form})


def _own_service(request: MemberRequest, number: str) -> Service:
    services = Service.objects.select_related("order__line")
    return get_object_or_404(services, order__number=number, member=request.user)


def _detail(service: Service) -> dict[str, Any]:
    order = service.order
    ordered = order.spec | {"hostname": order.hostname, "domain": order.domain}
    otherwise = {name: value for name, value in service.facts.items() if str(value) != str(ordered.get(name))}
    change = order.domain_changes.filter(done_at__isnull=True).last() if order.domain else None
    return {
        "service": service,
        "order": order,
        "configuration": catalog.describe(order.product_type, order.spec),
        "has_access": service.state != ServiceState.TERMINATED,
        "days_left": _days_left(service),
        "read_back": shown_facts(order.product_type, otherwise),
        "change": change,
        "access_url": reverse("orders:service-access", args=[order.number]),
        "hide_url": reverse("orders:service", args=[order.number]),
    }


def _days_left(service: Service) -> int | None:
    """Whole days until it ends, when that is soon; None when there is time, or it is over."""
    days = (service.expires_at - timezone.now()).days
    return days if service.state != ServiceState.TERMINATED and 0 <= days < ENDS_SOON_DAYS else None
