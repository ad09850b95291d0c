"""Mistakes in the settings of this app, told at start instead of at a member's order."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from .provisioning.registry import get_provisioner, provisioner_keys


@register
def check_provisioners(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not provisioner_keys():
        return [Error("PROVISIONERS is empty: no order could be opened.", id="orders.E001")]
    errors: list[CheckMessage] = []
    for key in provisioner_keys():
        try:
            get_provisioner(key)
        except ImproperlyConfigured as error:
            errors.append(Error(str(error), hint="See docs/adapters.md.", id="orders.E002"))
    return errors
