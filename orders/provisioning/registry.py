"""From a key of `settings.PROVISIONERS` to the adapter it names, the way Django finds its databases."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .base import Provisioner
from .inventory import InventoryProvisioner

# A module that single adapters need -> its package. The portal installs without them (the extras of pyproject.toml).
EXTRAS = {"asyncssh": "asyncssh", "openstack": "openstacksdk", "keystoneauth1": "openstacksdk", "sushy": "sushy"}

INVENTORY = "orders.machines.PortalInventory"  # by name: the adapters' package stays importable without the tables


def provisioner_keys() -> list[str]:
    return list(settings.PROVISIONERS)


def get_provisioner(key: str) -> Provisioner:
    """The adapter configured under `key`; `ImproperlyConfigured` says what to correct."""
    try:
        config = settings.PROVISIONERS[key]
    except KeyError:
        known = ", ".join(sorted(settings.PROVISIONERS)) or "none"
        raise ImproperlyConfigured(f"No provisioner {key!r} in PROVISIONERS. Known: {known}.") from None
    if not isinstance(config, dict) or "BACKEND" not in config:
        raise ImproperlyConfigured(f"PROVISIONERS[{key!r}] needs a BACKEND, the dotted path of an adapter class.")
    if unknown := sorted(set(config) - {"BACKEND", "OPTIONS"}):
        raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: {', '.join(unknown)} is neither BACKEND nor OPTIONS.")
    try:
        backend = import_string(config["BACKEND"])
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        how = f"It needs a package that is not installed: pip install {extra}" if extra else str(error)
        raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: {config['BACKEND']}: {how}") from error
    except ImportError as error:
        raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: {config['BACKEND']}: {error}") from error
    if not (isinstance(backend, type) and issubclass(backend, Provisioner)):
        raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: {config['BACKEND']} is not a Provisioner.")
    options = config.get("OPTIONS") or {}
    if not isinstance(options, dict):
        raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: OPTIONS must be a mapping.")
    if missing := getattr(backend, "__abstractmethods__", None):
        raise ImproperlyConfigured(
            f"PROVISIONERS[{key!r}]: {config['BACKEND']} is abstract, it lacks {', '.join(sorted(missing))}."
        )
    try:
        provisioner = backend(key, options)
    except (TypeError, ValueError, OSError) as error:  # no number, no file
        raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: OPTIONS cannot be read: {error}") from error
    if isinstance(provisioner, InventoryProvisioner):
        provisioner.inventory = import_string(INVENTORY)(key)
    return provisioner
