"""System checks: what production must not run with, and keys that cannot work anywhere.

Management commands run them anyway; the web and the worker ask `refuse_unfit_settings` when they start.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from cards import audit, chain, vault
from cards.exports.fonts import print_font
from cards.models import AuditEvent, AuditHead, Batch

from . import embedded

KEY_BYTES = 32
MOST_PROXIES = 4  # a CDN, a firewall, a load balancer and a web server
_KEY_RINGS = ("CARD_MASTER_KEYS", "CARD_INDEX_KEY", "ACCESS_KEYS", "AUDIT_KEYS")
_ONE_KEY = ("CARD_INDEX_KEY",)
_MAKE_A_KEY = (
    'A key is "id:secret"; make the secret with: '
    "python -c 'import base64, secrets; print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())'"
)


@register(Tags.security)
def check_keys(**kwargs: Any) -> list[CheckMessage]:
    """The key settings are well formed. Messages name the setting and the key's id, never the secret.

    A process that serves members only needs the index key to redeem, and should hold no key that opens codes.
    """
    if settings.PORTAL_SURFACE != "members":
        return [message for name in _KEY_RINGS for message in _check_key_ring(name)]
    found = _check_key_ring("CARD_INDEX_KEY")
    if settings.ACCESS_KEYS:
        found += _check_key_ring("ACCESS_KEYS")
    else:
        text = "ACCESS_KEYS is not set: members cannot be shown access details here, nor choose a login."
        found.append(Warning(text, id="portal.W002"))
    for name in settings.KEYS_OF_STAFF:
        if getattr(settings, name):
            text = f"{name} is set, but a process that serves members only has no use for it."
            found.append(Warning(text, hint=f"Take {name} out of this process's environment.", id="portal.W003"))
    return found


def _check_key_ring(name: str) -> list[CheckMessage]:
    text: str = getattr(settings, name)
    entries = text.split()
    if not entries:
        return [Error(f"{name} is not set.", hint=_MAKE_A_KEY, id="portal.E001")]
    found: list[CheckMessage] = []
    ids = [entry.partition(":")[0] for entry in entries]
    if name in _ONE_KEY and len(entries) > 1:
        found.append(Error(f"{name} holds {len(entries)} keys; it takes exactly one.", id="portal.E002"))
    if len(set(ids)) < len(ids):
        found.append(Error(f"{name} uses the same key id twice.", id="portal.E002"))
    for place, entry in enumerate(entries, 1):
        if problem := _problem_with_key(entry):
            found.append(Error(f"{name}: key {place} {problem}.", hint=_MAKE_A_KEY, id="portal.E002"))
    return found


def _problem_with_key(entry: str) -> str:
    key_id, colon, secret = entry.partition(":")
    if not colon or not key_id:
        return 'has no id: it must read "id:secret"'
    try:
        raw = base64.b64decode(secret, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return f'("{key_id}") is not URL-safe base64'
    if len(raw) != KEY_BYTES:
        return f'("{key_id}") has {len(raw)} bytes instead of {KEY_BYTES}'
    return ""


@register(Tags.security)
def check_choices(**kwargs: Any) -> list[CheckMessage]:
    """A misspelt choice must not silently mean the other one."""
    allowed = {
        "PORTAL_ENV": ("development", "production"),
        "PORTAL_SURFACE": ("members", "staff", "all"),
        "SIGN_UP": ("open", "invitation", "closed"),
        "STAFF_SECOND_FACTOR": ("required", "optional"),
    }
    return [
        Error(f"{name} is {getattr(settings, name)!r}; it must be one of {', '.join(values)}.", id="portal.E003")
        for name, values in allowed.items()
        if getattr(settings, name) not in values
    ]


@register(Tags.security)
def check_sign_in(**kwargs: Any) -> list[CheckMessage]:
    """Somebody can sign in at all, and the company's sign-in is whole."""
    if settings.OIDC_SERVER_URL:
        (app,) = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]
        if not app["client_id"] or not app["secret"]:
            return [Error("OIDC_SERVER_URL is set, OIDC_CLIENT_ID or OIDC_CLIENT_SECRET is not.", id="portal.E004")]
    elif not settings.LOCAL_PASSWORDS:
        return [Error("LOCAL_PASSWORDS is off and OIDC_SERVER_URL is not set: nobody can sign in.", id="portal.E005")]
    return []


@register(Tags.security)
def check_production(**kwargs: Any) -> list[CheckMessage]:
    """Production runs on nothing that was made for development."""
    if not settings.PRODUCTION:
        return []
    found: list[CheckMessage] = []
    if settings.DEBUG:
        found.append(Error("DEBUG is on in production.", id="portal.E010"))
    if settings.SECRET_KEY == "missing":  # noqa: S105  (the absence of one)
        found.append(Error("SECRET_KEY is not set.", id="portal.E011"))
    for name in ("SECRET_KEY", *_KEY_RINGS):
        if any(entry.startswith("embedded") for entry in getattr(settings, name).split()):
            found.append(Error(f"{name} holds a key made for development.", id="portal.E012"))
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        found.append(Error("The database is SQLite.", hint="Set DATABASE_URL to a PostgreSQL.", id="portal.E013"))
    if str(embedded.broker_socket(settings.DATA_DIR)) in settings.CELERY_BROKER_URL:
        hint = "Set CELERY_BROKER_URL to a Valkey or Redis that keeps an append-only file."
        found.append(Error("The broker is the embedded one.", hint=hint, id="portal.E014"))
    if not settings.ALLOWED_HOSTS:
        found.append(Error("ALLOWED_HOSTS is empty.", id="portal.E015"))
    if "*" in settings.ALLOWED_HOSTS:
        text = "ALLOWED_HOSTS is *: whoever asks chooses the host that links in e-mails lead to."
        hint = "Name the hosts that this portal is reached by; .example.com stands for all below it."
        found.append(Error(text, hint=hint, id="portal.E017"))
    if urlsplit(settings.SITE_URL).hostname in (None, "localhost", "127.0.0.1", "::1"):
        text = f"SITE_URL is {settings.SITE_URL!r}: links in mails and on printed cards would lead there."
        found.append(Error(text, hint="Set it to the address that members open.", id="portal.E018"))
    if settings.EMAIL_BACKEND.endswith("console.EmailBackend"):
        text = "EMAIL_URL is not set: mails, links that set a password among them, would be written to the log."
        hint = "Set EMAIL_URL to a mail server; dummymail:// sends none."
        found.append(Error(text, hint=hint, id="portal.E019"))
    for key, provisioner in settings.PROVISIONERS.items():
        if str(provisioner.get("BACKEND", "")).endswith("SimulatorProvisioner"):
            found.append(Warning(f'The provisioner "{key}" is the simulator: it opens nothing real.', id="portal.W001"))
    return found


@register(Tags.security)
def check_proxies(**kwargs: Any) -> list[CheckMessage]:
    """TRUSTED_PROXIES is a number that can be true; whether it is, only the network knows."""
    count = settings.TRUSTED_PROXIES
    if count < 0:
        return [Error(f"TRUSTED_PROXIES is {count}; it counts the reverse proxies in front.", id="portal.E016")]
    if settings.PRODUCTION and count == 0 and settings.SECURE_SSL_REDIRECT:
        text = "TRUSTED_PROXIES is 0 while pages are sent on to https: behind a proxy that speaks it they never arrive."
        hint = "Say how many reverse proxies stand in front; without any, nobody speaks https."
        return [Warning(text, hint=hint, id="portal.W004")]
    if count > MOST_PROXIES:
        text = f"TRUSTED_PROXIES is {count}: a caller who passes fewer proxies than that can invent his address."
        return [Warning(text, hint="Count the proxies that every request passes.", id="portal.W005")]
    return []


@register(Tags.database)
def check_keys_fit(databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """The keys are those that this database was made with; asked with `check --database default` and at every start."""
    if not databases or any(message.is_serious() for message in check_keys()):
        return []
    try:
        return [*_check_index_key(), *_check_master_keys(), *_check_audit_keys()]
    except DatabaseError:  # not migrated yet, or not there: others say so
        return []


def _check_index_key() -> list[CheckMessage]:
    """The newest audit events carry marks made with it."""
    newest = list(AuditEvent.objects.order_by("-pk")[:5])
    if not newest or any(audit.is_genuine(event) for event in newest):
        return []
    text = "CARD_INDEX_KEY is not the key that this database was made with: every code would be unknown."
    return [Error(text, hint="Set the key that was in use before.", id="portal.E020")]


def _check_master_keys() -> list[CheckMessage]:
    """One batch of each key is opened."""
    found: list[CheckMessage] = []
    if settings.PORTAL_SURFACE == "members":
        return found
    ids = vault.parse_keys("CARD_MASTER_KEYS", settings.CARD_MASTER_KEYS)
    for key_id in Batch.objects.order_by().values_list("key_id", flat=True).distinct():
        batches = Batch.objects.filter(key_id=key_id)
        if key_id not in ids:
            text = (
                f'CARD_MASTER_KEYS lacks the key "{key_id}" of {batches.count()} batches: their codes cannot be shown.'
            )
            found.append(Warning(text, hint="The cards can still be picked up.", id="portal.W021"))
            continue
        batch = batches.latest("pk")
        try:
            vault.unwrap(key_id, bytes(batch.wrapped_key), batch.request_token)
        except vault.KeyUnavailable:
            text = f'CARD_MASTER_KEYS: the key "{key_id}" is another one than the key of that name before.'
            found.append(Error(text, hint="Set the key that was in use before.", id="portal.E021"))
    return found


def _check_audit_keys() -> list[CheckMessage]:
    head = AuditHead.objects.filter(pk=1, position__gt=0).first()
    if settings.PORTAL_SURFACE == "members" or head is None or not any(chain.head_mark_wrong(head)):
        return []
    text = f'AUDIT_KEYS: the key "{head.key_id}" is missing or another one than before, or the chain was changed.'
    return [Error(text, hint="Set the key that was in use before; check_invariants says more.", id="portal.E022")]


def refuse_wrong_keys() -> None:
    """Raise ImproperlyConfigured when the keys are not this database's; called where a process starts."""
    found = check_keys_fit(databases=["default"])
    connection.close()
    if errors := [str(message.msg) for message in found if isinstance(message, Error)]:
        raise ImproperlyConfigured("The portal refuses to start. " + " ".join(errors))


@register(Tags.staticfiles, deploy=True)
def check_static_files(**kwargs: Any) -> list[CheckMessage]:
    """Production's pages find their style sheets and scripts under names that `collectstatic` gave them."""
    if not settings.PRODUCTION:
        return []
    collected = getattr(staticfiles_storage, "hashed_files", {})
    ours = {file.relative_to(root).as_posix() for root in map(Path, settings.STATICFILES_DIRS) for file in _files(root)}
    if ours <= collected.keys():
        return []
    text = f"The static files of this version are not in {settings.STATIC_ROOT}: no page could be shown."
    return [Error(text, hint="Run: manage.py collectstatic --noinput", id="portal.E030")]


def _files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))


@register()
def check_print_font(**kwargs: Any) -> list[CheckMessage]:
    """Print sheets with Chinese need a font; without one they are refused, and everything else works."""
    if print_font():
        return []
    hint = "Set PRINT_FONT to a TrueType or OpenType file, or leave it empty and install requirements.txt whole."
    return [Warning("The font for Chinese print sheets (PDF) was not found.", hint=hint, id="portal.W010")]


def refuse_unfit_settings(*, pages: bool = False) -> None:
    """Raise ImproperlyConfigured with every error the checks above find; `pages`: in a process that shows them."""
    found = [*check_keys(), *check_choices(), *check_sign_in(), *check_proxies(), *check_production()]
    found += check_static_files() if pages else []
    if errors := [str(message.msg) for message in found if isinstance(message, Error)]:
        raise ImproperlyConfigured("The portal refuses to start. " + " ".join(errors))
