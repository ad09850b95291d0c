"""What machines ask: is the process up, is the portal able to work, and how much of what is there."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Count, Min
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu.connection import Connection
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cards.choices import BatchStatus
from cards.models import AuditCheck, Batch
from orders import dispatch
from orders.choices import OrderState
from orders.models import Notice, Order, Service

from .tasks import HEARTBEAT_KEY

BROKER_SECONDS = 1.0
HEARTBEAT_LATE_SECONDS = 45.0  # beat sends one every 10 s


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Touches nothing else, so that a database outage does not get every web process killed."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database, broker and worker all do their part, else 503; says which one does not."""
    parts = {"database": _state(_ask_database), "broker": _state(_ask_broker), "worker": _state(_ask_worker)}
    ready = all(state == "ok" for state in parts.values())
    return JsonResponse(parts, status=200 if ready else 503)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text, for the holder of METRICS_TOKEN; without one, for this machine only."""
    if not _may_read_metrics(request):
        return HttpResponse("forbidden\n", status=403, content_type="text/plain")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PortalCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _state(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except Exception as error:  # whatever it is, the part is not usable; its text may hold a password
        return type(error).__name__


def _ask_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _ask_broker() -> str:
    limits = {"socket_timeout": BROKER_SECONDS, "socket_connect_timeout": BROKER_SECONDS}
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS | limits
    url = settings.CELERY_BROKER_URL
    with Connection(url, connect_timeout=BROKER_SECONDS, transport_options=options) as broker:
        broker.default_channel.client.ping()
    return "ok"


def _ask_worker() -> str:
    seen = cache.get(HEARTBEAT_KEY)
    if seen is None:
        return "not seen"
    age = time.time() - seen
    if age < -HEARTBEAT_LATE_SECONDS:  # it could fall silent for as long, unnoticed
        return f"its clock is {-age:.0f} s ahead of this machine's"
    return "ok" if age <= HEARTBEAT_LATE_SECONDS else f"silent for {age:.0f} s"


def _may_read_metrics(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), settings.METRICS_TOKEN.encode())
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False  # through a proxy on this machine every caller looks local
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


class PortalCollector(Collector):
    """Reads the gauges from the database at the time of asking; the same whichever web process answers."""

    def collect(self) -> Iterable[Metric]:
        orders = GaugeMetricFamily("portal_orders", "Orders by state.", labels=["state"])
        counted = dict(Order.objects.order_by().values_list("state").annotate(Count("pk")))
        for state in OrderState.values:
            orders.add_metric([state], counted.get(state, 0))
        yield orders

        now = timezone.now()
        since = Coalesce(Greatest("next_attempt_at", "lease_until"), "next_attempt_at")
        oldest = Order.objects.filter(dispatch.due(now)).aggregate(oldest=Min(since))["oldest"]
        waited = (now - oldest).total_seconds() if oldest else 0.0
        yield GaugeMetricFamily("portal_order_overdue_seconds", "How long the oldest due order has waited.", waited)

        unsettled = Service.objects.unsettled().count()
        yield GaugeMetricFamily("portal_services_stuck", "Services whose change needs a person.", unsettled)
        drifting = Service.objects.drifting().count()
        yield GaugeMetricFamily("portal_services_drifting", "Services that their provider shows otherwise.", drifting)

        growing = Batch.objects.filter(status=BatchStatus.GENERATING)
        yield GaugeMetricFamily(
            "portal_batches_generating", "Batches whose cards are still being made.", growing.count()
        )

        stood = growing.aggregate(since=Min("progress_at"))["since"]
        still = (now - stood).total_seconds() if stood else 0.0
        yield GaugeMetricFamily("portal_batch_stalled_seconds", "How long a growing batch has not grown.", still)

        owed = Notice.objects.filter(next_attempt_at__isnull=False).aggregate(since=Min("created_at"))["since"]
        unsent = (now - owed).total_seconds() if owed else 0.0
        yield GaugeMetricFamily("portal_mail_overdue_seconds", "How long the oldest unsent mail has waited.", unsent)

        breaks = sum(len(check.breaks) for check in AuditCheck.objects.all())
        yield GaugeMetricFamily("portal_audit_breaks", "Places where the audit chain is known to be broken.", breaks)

        age = time.time() - cache.get(HEARTBEAT_KEY, 0.0)
        yield GaugeMetricFamily("portal_worker_heartbeat_age_seconds", "Time since a worker last ran a task.", age)


PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {"healthz": healthz, "readyz": readyz, "metrics": metrics}


class ProbesMiddleware:
    """Answers probes under whatever host they ask: they come from inside, by a machine's address."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return PROBES.get(request.path_info[1:], self.get_response)(request)
