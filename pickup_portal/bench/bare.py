"""What `bench redeem` serves beside the portal, in the same gunicorn: the portal, and one bare view.

The bare view is what Django itself costs: the portal's middleware, the session, the signed-in user and the CSRF check,
then one transaction, by the ORM where it has words: lock the card, lock its batch for sharing, mark the card used if
both still allow it, insert an order; and a redirect. No form, no throttle, no line or image, no usage log, no count, no
timeline, no audit row, no worker to wake.
"""

from __future__ import annotations

import os
import secrets
from datetime import timedelta

from django.contrib.auth.decorators import login_required
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import include, path
from django.utils import timezone
from django.views.decorators.http import require_POST

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pickup_portal.settings")
application = get_wsgi_application()

from django.conf import settings  # noqa: E402

from accounts.models import User  # noqa: E402
from cards import vault  # noqa: E402
from cards.choices import CardStatus  # noqa: E402
from cards.models import Batch, Card  # noqa: E402
from orders.choices import OrderState  # noqa: E402
from orders.models import Order  # noqa: E402

settings.ROOT_URLCONF = __name__
MARK = "bare-"
_READ_BATCH = "SELECT 1 FROM cards_batch WHERE id = %s"
_LOCK_BATCH = f"{_READ_BATCH} FOR SHARE"


@login_required
@require_POST
def bare(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)  # noqa: S101  (for the type checker: login_required saw to it)
    now = timezone.now()
    with transaction.atomic():
        locks = connection.vendor == "postgresql"
        card = Card.objects.select_for_update(no_key=locks).get(lookup=vault.lookup(request.POST["code"]))
        with connection.cursor() as cursor:
            cursor.execute(_LOCK_BATCH if locks else _READ_BATCH, [card.batch_id])
        usable = Batch.objects.filter(issued__gte=card.serial, disabled_at__isnull=True, expires_at__gt=now)
        Card.objects.filter(pk=card.pk, status=CardStatus.UNUSED, batch__in=usable).update(
            status=CardStatus.USED, used_at=now, used_by=request.user, sealed=None
        )
        order = Order.objects.create(
            number=f"{MARK}{secrets.token_hex(6)}",
            member_id=request.user.pk,
            card=card,
            batch_id=card.batch_id,
            product_type=request.POST["product_type"],
            product_name="bench",
            line_id=int(request.POST["line"]),
            provider="bench",
            spec={},
            term_months=1,
            currency="CNY",
            state=OrderState.FAILED,  # so that no worker takes it up
            deadline=now + timedelta(hours=1),
        )
    return HttpResponseRedirect(f"/orders/{order.number}/")


urlpatterns = [path("bench/bare/", bare), path("", include("pickup_portal.urls"))]
