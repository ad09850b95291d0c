"""What a member logs in to his product with, as pages show it: only ever in the answer to a POST."""

from __future__ import annotations

import logging
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables

from cards import vault

from . import fulfilment
from .models import Service

logger = logging.getLogger(__name__)

ACCESS_LABELS = {
    "address": gettext_lazy("IP address"),
    "more_addresses": gettext_lazy("Further IP addresses"),
    "port": gettext_lazy("Port"),
    "domain": gettext_lazy("Domain"),
    "username": gettext_lazy("User name"),
    "password": gettext_lazy("Password"),
    "control_panel": gettext_lazy("Control panel"),
}


@sensitive_variables("access")
def shown_access(service: Service) -> dict[str, Any]:
    """{"access": [(label, value)]} or {"access_error": text}. The domain is the one the site was given last."""
    try:
        access = fulfilment.access_of(service)
    except vault.KeyUnavailable:
        logger.exception("order %s: its access details cannot be opened", service.order.number)
        return {"access_error": _("The access details cannot be shown at the moment. Please contact our staff.")}
    if "domain" in access and service.order.domain:
        access["domain"] = service.order.domain
    return {"access": labelled(access)}


def labelled(access: dict[str, str]) -> list[tuple[str, str]]:
    """[(label, value)] of what an adapter returned, in the order of the labels; a name we have no word for stands last,
    as the adapter gave it."""
    known = [name for name in ACCESS_LABELS if name in access]
    names = [*known, *(name for name in access if name not in ACCESS_LABELS)]
    return [(str(ACCESS_LABELS.get(name, name.replace("_", " "))), access[name]) for name in names]
