"""A web process for members, with the index key and no other: everything but download and reveal works there."""

from __future__ import annotations

import base64
import http.client
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.conf import settings as portal_settings
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from pytest_django.fixtures import Settings

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards import audit, chain, vault
from cards.choices import AuditAction
from cards.models import AuditEvent, Card
from cards.tests.factories import make_batch
from orders import redemption
from orders.models import Order
from orders.tests.cast import place_order, put_into
from orders.tests.race import CSRF, session_of, start_web
from pickup_portal import checks

STAFF_URLS = [
    "/staff/",
    "/staff/cards/",
    "/staff/cards/{pk}/download/",
    "/staff/audit/",
    "/staff/orders/",
    "/staff/admin/",
]
KEYS = {"CARD_MASTER_KEYS": "", "AUDIT_KEYS": "", "ACCESS_KEYS": ""}


def a_key(name: str, fill: int = 7) -> str:
    return f"{name}:{base64.urlsafe_b64encode(bytes([fill]) * 32).decode()}"


class Visitor:
    def __init__(self, port: int, member: User) -> None:
        self.port = port
        self.cookies = {portal_settings.SESSION_COOKIE_NAME: session_of(member), "csrftoken": CSRF}

    def ask(self, path: str, **form: object) -> tuple[int, str, str]:
        """(status, where it leads, page)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        head = {"Host": "localhost", "Cookie": cookies, "Accept-Language": "en"}
        if form:
            body = urlencode(form | {"csrfmiddlewaretoken": CSRF})
            connection.request("POST", path, body, head | {"Content-Type": "application/x-www-form-urlencoded"})
        else:
            connection.request("GET", path, headers=head)
        answer = connection.getresponse()
        page = answer.read().decode(errors="replace")
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _equals, value = line.partition(";")[0].partition("=")
            if name in self.cookies:
                self.cookies[name] = value
        connection.close()
        return answer.status, answer.headers.get("Location", ""), page


@pytest.mark.django_db(transaction=True)
def test_with_the_index_key_alone_members_are_served_and_staff_are_not(
    start_process: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    batch, codes = make_batch(quantity=2)
    member = UserFactory.create()
    order = put_into(place_order(code=codes[1], member=member, image_id=batch.line.images.get().pk), "active")
    environment = {
        "PORTAL_SURFACE": "members",
        "SECRET_KEY": portal_settings.SECRET_KEY,
        "CARD_INDEX_KEY": portal_settings.CARD_INDEX_KEY,
        "PORTAL_DATA_DIR": str(tmp_path),
        **KEYS,
    }

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        return start_process(*arguments, **environment)

    visitor = Visitor(start_web(start, "pickup_portal.wsgi", workers=1, threads=2), member)
    image = batch.line.images.get().pk
    status, _where, page = visitor.ask("/cards/redeem/", step="check", code=codes[0])
    assert (status, "Debian 12" in page) == (200, True)
    status, where, page = visitor.ask("/cards/redeem/", step="confirm", code=codes[0], image=image, hostname="")
    assert status == 303, page
    assert Card.objects.get(batch=batch, serial=1).status == "used"
    assert where == f"/orders/{Order.objects.latest('pk').number}/"
    assert audit.is_genuine(AuditEvent.objects.latest("pk")), "its event fits the trail of the others"
    for path in ["/", "/cards/", "/cards/redeem/", "/orders/", where, f"/orders/{order.number}/", "/accounts/profile/"]:
        assert visitor.ask(path)[0] == 200, path
    assert "s3cret-access" not in visitor.ask(f"/orders/{order.number}/")[2]
    for path in STAFF_URLS:
        assert visitor.ask(path.format(pk=batch.pk))[0] == 404, path


@pytest.mark.django_db
def test_a_batch_whose_key_is_lost_still_redeems(settings: Settings) -> None:
    settings.CARD_MASTER_KEYS = a_key("lost")
    batch, codes = make_batch()
    settings.CARD_MASTER_KEYS = a_key("new", 8)
    with pytest.raises(vault.KeyUnavailable, match="'lost'"):
        vault.BatchVault.of(batch)
    order = redemption.redeem(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    assert Card.objects.get(order=order).status == "used"


# --- What the checks say ----------------------------------------------------------------------------------------------
def said(messages: list[CheckMessage]) -> list[str]:
    return [str(message.id) for message in messages]


def test_members_need_the_index_key_and_nothing_that_opens_codes(settings: Settings) -> None:
    settings.PORTAL_SURFACE, settings.CARD_INDEX_KEY, settings.ACCESS_KEYS = "members", a_key("i"), a_key("a")
    settings.CARD_MASTER_KEYS = settings.AUDIT_KEYS = ""
    assert said(checks.check_keys()) == []
    settings.ACCESS_KEYS = ""
    assert said(checks.check_keys()) == ["portal.W002"]
    settings.CARD_MASTER_KEYS = a_key("m")
    (_access, master) = checks.check_keys()
    assert re.search("CARD_MASTER_KEYS is set, but", str(master.msg))
    settings.CARD_INDEX_KEY = ""
    assert said(checks.check_keys())[0] == "portal.E001"


@pytest.mark.parametrize("name", ["CARD_MASTER_KEYS", "CARD_INDEX_KEY", "ACCESS_KEYS", "AUDIT_KEYS"])
@pytest.mark.parametrize("surface", ["staff", "all"])
def test_staff_need_every_key(settings: Settings, name: str, surface: str) -> None:
    settings.PORTAL_SURFACE = surface
    setattr(settings, name, "")
    (message,) = checks.check_keys()
    assert (message.id, message.msg) == ("portal.E001", f"{name} is not set.")


@pytest.fixture
def used_database(db: None) -> None:
    make_batch()
    audit.record(AuditAction.REVEAL)
    chain.seal_new_events()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CARD_INDEX_KEY", "portal.E020"),
        ("CARD_MASTER_KEYS", "portal.E021"),
        ("AUDIT_KEYS", "portal.E022"),
    ],
)
def test_a_key_that_is_not_this_databases_is_refused(
    used_database: None, settings: Settings, name: str, expected: str
) -> None:
    assert said(checks.check_keys_fit(databases=["default"])) == []
    key_id = getattr(settings, name).partition(":")[0]
    setattr(settings, name, a_key(key_id))
    (message,) = checks.check_keys_fit(databases=["default"])
    assert message.id == expected
    assert a_key("x").partition(":")[2] not in f"{message.msg}{message.hint}"
    with pytest.raises(ImproperlyConfigured, match=name):
        checks.refuse_wrong_keys()


def test_a_lost_master_key_is_warned_of_by_name_and_stops_nothing(used_database: None, settings: Settings) -> None:
    settings.CARD_MASTER_KEYS = a_key("2027a")
    (message,) = checks.check_keys_fit(databases=["default"])
    assert message.id == "portal.W021"
    assert 'lacks the key "embedded1" of 1 batches' in message.msg
    checks.refuse_wrong_keys()
