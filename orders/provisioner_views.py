"""What the provisioners say when staff ask: whether they answer, and what stands there without an order (orphans).

Nothing is asked on a GET, nothing is ever removed, and no answer is waited for longer than `probe.LIMIT`.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Count, Q
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from cards.models import Line
from cards.views.access import StaffRequest, staff_view

from . import probe, reconcile
from .choices import IN_FLIGHT, STUCK, ServiceState
from .models import Order, Service
from .provisioning.registry import provisioner_keys

MOST_ORPHANS_SHOWN = 200


@staff_view("orders.check_provisioners")
@require_GET
def provisioner_list(request: StaffRequest) -> HttpResponse:
    return _page(request)


@staff_view("orders.check_provisioners")
@require_POST
def provisioner_check(request: StaffRequest, key: str) -> HttpResponse:
    return _answer(request, {"answer": probe.check(_known(key))})


@staff_view("orders.check_provisioners")
@require_POST
def provisioner_orphans(request: StaffRequest, key: str) -> HttpResponse:
    answer = probe.list_keys(_known(key))
    orphans = reconcile.orphans_among(set(answer.keys))
    shown = orphans[:MOST_ORPHANS_SHOWN]
    orders = {order.key: order for order in Order.objects.filter(key__in=shown)}
    context = {
        "answer": answer,
        "orphans": [(orphan, orders.get(orphan)) for orphan in shown],
        "orphan_count": len(orphans),
        "seen_count": len(answer.keys),
    }
    return _answer(request, context)


def _known(key: str) -> str:
    if key not in settings.PROVISIONERS:
        raise Http404
    return key


def _answer(request: StaffRequest, context: dict[str, Any]) -> HttpResponse:
    if request.htmx:
        return render(request, "staff/_provisioner_answer.html", context)
    return _page(request, context)


def _page(request: StaffRequest, context: dict[str, Any] | None = None) -> HttpResponse:
    lines: dict[str, list[str]] = {}
    for provider, name in Line.objects.filter(active=True).order_by("name").values_list("provider", "name"):
        lines.setdefault(provider, []).append(name)
    open_orders = dict(
        Order.objects.filter(state__in=[*IN_FLIGHT, *STUCK]).order_by().values_list("provider").annotate(Count("pk"))
    )
    running = dict(
        Service.objects.filter(~Q(state=ServiceState.TERMINATED))
        .order_by()
        .values_list("provider")
        .annotate(Count("pk"))
    )
    rows = [
        {
            "key": key,
            "backend": settings.PROVISIONERS[key]["BACKEND"].rpartition(".")[2],
            "lines": lines.get(key, []),
            "open": open_orders.get(key, 0),
            "services": running.get(key, 0),
        }
        for key in provisioner_keys()
    ]
    return render(request, "staff/provisioner_list.html", {"rows": rows} | (context or {}))
