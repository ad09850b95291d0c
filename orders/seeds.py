"""First-boot settings of a machine that no control plane carries there: the portal serves them itself, for as long as
the order is being opened, to whoever knows the order's token.

The token is derived, stored nowhere, and worth nothing once the order is open. A Linux password is in the settings as
its SHA-512 hash only.
"""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from cards.choices import OSFamily

from . import fulfilment
from .callbacks import heed_callback
from .choices import IN_FLIGHT
from .models import Machine, Order
from .provisioning.cloud_init import user_data
from .provisioning.iso import disc
from .seed_tokens import seed_tokens


def opening_order(key: UUID, token: str) -> Order | None:
    """The order of this key while it is being opened on a machine of ours, if the token is its own."""
    if not any(hmac.compare_digest(token, known) for known in seed_tokens(key)):
        return None
    return Order.objects.filter(key=key, state__in=IN_FLIGHT, machine__isnull=False).first()


def seed_disc(order: Order, token: str, phone_home: str) -> bytes:
    """The disc with the order's first-boot settings; the same bytes whenever it is asked for.

    Raises vault.KeyUnavailable.
    """
    request = fulfilment.request_for(order)
    hostname = request.hostname or order.number.lower()
    settings = user_data(
        password=request.password,
        ssh_key=request.ssh_key,
        hostname=hostname,
        windows=request.os_family == OSFamily.WINDOWS,
        salt=hashlib.sha256(token.encode()).hexdigest()[:16],
        phone_home=phone_home,
    )
    about = f"instance-id: {order.key}\nlocal-hostname: {hostname}\n"
    return disc("cidata", {"user-data": settings.encode(), "meta-data": about.encode()})


@transaction.atomic
def note_booted(order: Order) -> None:
    """The machine says that its first boot is through: note it, and look at the order now instead of later."""
    Machine.objects.filter(order=order, phoned_at=None).update(phoned_at=timezone.now())
    heed_callback(provider=order.provider, key=order.key)
