"""The permission matrix: every URL x method x person x own or other object, in one table.

A URL that is missing from the table fails. Each cell is one request, rolled back after it; the number of cells is
printed (`pytest -s`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, include, path, reverse

from accounts.actions import record_entry
from accounts.choices import LedgerKind
from accounts.models import User
from accounts.tests.factories import UserFactory
from cards.choices import ProductType
from cards.models import AuditEvent
from cards.tests.factories import ImageFactory, LineFactory, OperatingSystemFactory, ServerModelFactory, make_batch
from cards.views.access import SEE_LAST4
from orders.choices import OrderState
from orders.tests.cast import place_order, put_into
from orders.tests.factories import MachineFactory
from pickup_portal.roles import ROLES

pytestmark = pytest.mark.django_db

GET, POST, BOTH = frozenset({"GET"}), frozenset({"POST"}), frozenset({"GET", "POST"})
PUBLIC, SIGNED_IN, OWNER, MACHINES = "public", "signed in", "owner", "machines"


@dataclass(frozen=True)
class Row:
    """Who may: PUBLIC, SIGNED_IN, the object's OWNER (others get a 404), or staff with all of `permissions`."""

    who: str | tuple[str, ...]
    methods: frozenset[str] = BOTH


def staff(*permissions: str, methods: frozenset[str] = BOTH) -> Row:
    return Row(permissions, methods)


TABLE: dict[str, Row] = {
    # --- everybody
    "home": Row(PUBLIC, BOTH),
    "healthz": Row(PUBLIC, GET),
    "set_language": Row(PUBLIC, BOTH),
    "account_login": Row(PUBLIC),
    "account_signup": Row(PUBLIC),
    "account_reset_password": Row(PUBLIC),
    # --- each for himself
    "profile": Row(SIGNED_IN),
    "ledger": Row(SIGNED_IN, GET),
    "account_email": Row(SIGNED_IN),
    "account_change_password": Row(SIGNED_IN),
    "mfa_index": Row(SIGNED_IN, GET),
    "usersessions_list": Row(SIGNED_IN),
    "orders:cards": Row(SIGNED_IN, GET),
    "orders:redeem": Row(SIGNED_IN),
    "orders:list": Row(SIGNED_IN, GET),
    "orders:services": Row(SIGNED_IN, GET),
    "orders:detail": Row(OWNER, GET),
    "orders:status": Row(OWNER, GET),
    "orders:access": Row(OWNER, POST),
    "orders:service": Row(OWNER, GET),
    "orders:service-access": Row(OWNER, POST),
    "orders:service-domain": Row(OWNER),
    # --- staff: cards
    "staff:home": staff("cards.view_batch"),
    "staff:batch-list": staff("cards.view_batch"),
    "staff:batch-csv": staff("cards.view_batch", methods=POST),
    "staff:usage-csv": staff("cards.view_carduse", methods=POST),
    "staff-orders:csv": staff("orders.view_order", methods=POST),
    "staff:batch-detail": staff("cards.view_batch"),
    "staff:batch-progress": staff("cards.view_batch"),
    "staff:usage-log": staff("cards.view_carduse"),
    "staff:card-find": staff("cards.view_card"),
    "staff:batch-add": staff("cards.add_batch"),
    "staff:batch-add-type": staff("cards.add_batch"),
    "staff:batch-quote": staff("cards.add_batch", methods=POST),
    "staff:batch-add-cards": staff("cards.add_batch"),
    "staff:batch-approve": staff("cards.approve_batch"),
    "staff:batch-cancel": staff("cards.cancel_batch"),
    "staff:batch-download": staff("cards.download_batch"),
    "staff:batch-extend": staff("cards.extend_batch"),
    "staff:batch-disable": staff("cards.disable_batch"),
    "staff:batch-enable": staff("cards.disable_batch"),
    "staff:cards-disable": staff("cards.disable_batch"),
    "staff:selection-disable": staff("cards.disable_batch"),
    "staff:card-disable": staff("cards.disable_batch"),
    "staff:card-enable": staff("cards.disable_batch"),
    "staff:card-replace": staff("cards.replace_card"),
    "staff:audit-trail": staff("cards.view_audit_trail"),
    "staff:audit-event": staff("cards.view_audit_trail"),
    "staff:audit-csv": staff("cards.view_audit_trail", methods=POST),
    # --- staff: catalogue
    "staff:line-list": staff("cards.view_line", methods=GET),
    "staff:line-detail": staff("cards.view_line", methods=GET),
    "staff:line-add": staff("cards.add_line"),
    "staff:line-edit": staff("cards.change_line"),
    "staff:image-add": staff("cards.add_image"),
    "staff:image-edit": staff("cards.change_image"),
    "staff:server-model-add": staff("cards.add_servermodel"),
    "staff:server-model-edit": staff("cards.change_servermodel"),
    "staff:system-list": staff("cards.view_operatingsystem", methods=GET),
    "staff:system-add": staff("cards.add_operatingsystem"),
    "staff:system-edit": staff("cards.change_operatingsystem"),
    # --- staff: orders, services, members, provisioners
    "staff-orders:list": staff("orders.view_order", methods=GET),
    "staff-orders:detail": staff("orders.view_order", methods=GET),
    "staff-orders:redeem": staff("orders.view_order", "orders.redeem_for_member"),
    "staff-orders:retry": staff("orders.view_order", "orders.retry_order", methods=POST),
    "staff-orders:retry-domain": staff("orders.view_order", "orders.retry_order", methods=POST),
    "staff-orders:cancel": staff("orders.view_order", "orders.return_card"),
    "staff-orders:settle": staff("orders.view_order", "orders.resolve_order"),
    "staff-orders:service-list": staff("orders.view_service", methods=GET),
    "staff-orders:service": staff("orders.view_service", methods=GET),
    "staff-orders:service-suspend": staff("orders.suspend_service"),
    "staff-orders:service-resume": staff("orders.suspend_service"),
    "staff-orders:service-extend": staff("orders.suspend_service"),
    "staff-orders:service-settle": staff("orders.suspend_service"),
    "staff-orders:service-terminate": staff("orders.terminate_service"),
    "staff-orders:member-list": staff("accounts.view_user", methods=GET),
    "staff-orders:member-invite": staff("accounts.invite_member"),
    "staff-orders:dashboard": staff("cards.view_batch"),
    "staff-orders:leak-report": staff("accounts.view_user"),
    "staff:card-reveal": staff("cards.reveal_card"),
    "staff-orders:member": staff("accounts.view_user", methods=GET),
    "staff-orders:member-top-up": staff("accounts.top_up"),
    "staff-orders:member-correct": staff("accounts.correct_top_up"),
    "staff-orders:member-disable": staff("accounts.disable_member"),
    "staff-orders:member-enable": staff("accounts.disable_member"),
    "staff-orders:machine-list": staff("orders.view_machine", methods=GET),
    "staff-orders:machine-add": staff("orders.add_machine"),
    "staff-orders:machine-edit": staff("orders.change_machine"),
    "staff-orders:machine-out": staff("orders.switch_machine"),
    "staff-orders:machine-back": staff("orders.switch_machine"),
    "staff-orders:provisioner-list": staff("orders.check_provisioners", methods=GET),
    "staff-orders:provisioner-check": staff("orders.check_provisioners", methods=POST),
    "staff-orders:provisioner-orphans": staff("orders.check_provisioners", methods=POST),
}
# Pages of the libraries, which keep their own doors: signing in and out, second factors, company sign-in. And two of
# ours that ask for a secret instead of a person (an invitation, the metrics, a provisioner's callback, a machine's
# first boot), and one for machines.
ELSEWHERE = (
    "account_",
    "mfa_",
    "socialaccount_",
    "openid_connect_",
    "without a name: oidc/",  # before openid_connect_login, which leads to the same door
    "usersessions_",
    "invitation",
    "metrics",
    "orders:callback",
    "orders:machine-",
    "readyz",
    "admin:",
)


OURS = ("accounts", "cards", "orders", "pickup_portal")


def every_url(patterns: Any, namespace: str = "") -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from every_url(pattern.url_patterns, inner)
        elif isinstance(pattern, URLPattern) and pattern.name:
            yield f"{namespace}{pattern.name}"
        elif isinstance(pattern, URLPattern) and pattern.callback.__module__.partition(".")[0] in OURS:
            yield f"{namespace}without a name: {pattern.pattern}"


def test_every_url_is_in_the_table() -> None:
    names = set(every_url(get_resolver().url_patterns))
    assert {name for name in names if not name.startswith(ELSEWHERE)} - set(TABLE) == set()
    assert set(TABLE) - names == set()


def test_a_url_that_nobody_entered_is_seen() -> None:
    """The control of the test above: a new page, and one that was given no name."""
    new = [path("new/", lambda request: None, name="new"), path("nameless/", lambda request: None)]
    assert set(every_url([path("staff/", include((new, "staff")))])) - set(TABLE) == {
        "staff:new",
        "staff:without a name: nameless/",
    }


def test_every_permission_of_a_role_opens_something() -> None:
    """Of the table or, for the few that only show or hide a part of a page, named here."""
    parts = {
        *("cards.view_image", "cards.view_servermodel", "cards.view_auditevent", "accounts.view_ledgerentry"),
        SEE_LAST4,
    }
    asked = {permission for row in TABLE.values() if not isinstance(row.who, str) for permission in row.who}
    given = {permission for permissions in ROLES.values() for permission in permissions}
    assert given - asked - parts == set()
    assert asked - given == set()


# --- the cells ---
PEOPLE = ["anonymous", "alice", "bob", "staff without a role", *ROLES, "superuser"]


@pytest.fixture
def world(db: None) -> dict[str, Any]:
    """alice's orders, one open and one failed; the lines, batches and events that stand in the addresses."""
    alice, bob = UserFactory.create(username="alice"), UserFactory.create(username="bob")
    batch, codes = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=4)
    opened = put_into(place_order(code=codes[0], member=alice), OrderState.ACTIVE)
    failed = put_into(place_order(code=codes[1], member=alice), OrderState.FAILED)
    line = LineFactory.create()
    return {
        "alice": alice,
        "bob": bob,
        "batch": batch.pk,
        "order": opened.number,
        "stuck": failed.number,
        "line": line.pk,
        "image": ImageFactory.create(line=line).pk,
        "model": ServerModelFactory.create(line=line).pk,
        "system": OperatingSystemFactory.create().pk,
        "machine": MachineFactory.create().pk,
        "event": AuditEvent.objects.latest("pk").pk,
        "entry": record_entry(member=alice, kind=LedgerKind.TOP_UP, amount=Decimal(5)).pk,
    }


def address(name: str, world: dict[str, Any]) -> str:
    """The URL of that name, about the object that suits it."""
    about: list[tuple[Callable[[str], bool], list[Any]]] = [
        (lambda n: n in ("staff-orders:retry", "staff-orders:cancel", "staff-orders:settle"), [world["stuck"]]),
        (lambda n: n.startswith("staff-orders:provisioner-") and not n.endswith("list"), ["simulator"]),
        (lambda n: n.startswith("staff-orders:member") and not n.endswith(("list", "invite")), [world["alice"].pk]),
        (lambda n: n == "staff-orders:member-correct", [world["alice"].pk, world["entry"]]),
        (
            lambda n: n in ("staff-orders:machine-edit", "staff-orders:machine-out", "staff-orders:machine-back"),
            [world["machine"]],
        ),
        (lambda n: n == "staff:audit-event", [world["event"]]),
        (lambda n: n in ("staff:batch-add-type", "staff:batch-quote"), ["cloud_server"]),
        (lambda n: n in ("staff:line-detail", "staff:line-edit", "staff:image-add"), [world["line"]]),
        (lambda n: n == "staff:server-model-add", [world["line"]]),
        (lambda n: n == "staff:image-edit", [world["image"]]),
        (lambda n: n == "staff:server-model-edit", [world["model"]]),
        (lambda n: n == "staff:system-edit", [world["system"]]),
        (
            lambda n: n in ("staff:card-disable", "staff:card-enable", "staff:card-replace", "staff:card-reveal"),
            [world["batch"], 3],
        ),
    ]
    for arguments in [*(args for fits, args in about if fits(name)), [], [world["order"]], [world["batch"]]]:
        try:
            return reverse(name, args=arguments)
        except Exception:  # noqa: S112 - NoReverseMatch: the next one may fit
            continue
    raise AssertionError(name)


def person(who: str, world: dict[str, Any]) -> User | None:
    if who == "anonymous":
        return None
    if who in world:
        found: User = world[who]
        return found
    if who == "superuser":
        superuser: User = UserFactory.create(superuser=True)
        return superuser
    user: User = UserFactory.create(staff=True)
    if who in ROLES:
        user.groups.add(Group.objects.get(name=who))
    return user


def expected(row: Row, method: str, who: str, user: User | None) -> set[str]:
    """What may come of it. Where a view takes another method only, 405 may come before anybody is asked who he is."""
    denied: set[str] = set()
    if user is None and row.who != PUBLIC:
        denied = {"sign in"}
    elif row.who == OWNER and who != "alice":
        denied = {"404"}
    elif isinstance(row.who, tuple) and user is not None:
        # The roles' table is asked, not the database: the migrations are tested with it.
        has = set(ROLES.get(who, ()))
        if who != "superuser" and not (user.is_staff and has.issuperset(row.who)):
            denied = {"403"}
    if method not in row.methods:
        return denied | {"405"} if denied else {"405"}
    return denied or {"allowed"}


def outcome(client: Client, method: str, url: str) -> str:
    with transaction.atomic():
        response = client.generic(method, url)
        transaction.set_rollback(True)
    code = response.status_code
    if "HX-Refresh" in response and not response.content:
        return "sign in"  # a fragment asked for without a session: the page is loaded anew and leads there
    if code == 302 and response["Location"].startswith(f"{reverse('account_login')}?"):
        return "sign in"
    return str(code) if code in (403, 404, 405) or code >= 500 else "allowed"


@pytest.mark.parametrize("who", PEOPLE)
def test_matrix(who: str, world: dict[str, Any], record_property: Any) -> None:
    user = person(who, world)
    client = Client()
    if user:
        client.force_login(user)
    deviations, cells = [], 0
    for name, row in TABLE.items():
        url = address(name, world)
        for method in ("GET", "POST"):
            cells += 1
            found, wanted = outcome(client, method, url), expected(row, method, who, user)
            if found not in wanted:
                deviations.append(f"{who}: {method} {name}: {found}, expected {' or '.join(sorted(wanted))}")
    record_property("cells", cells)
    assert not deviations, "\n".join(deviations)


def test_how_many_cells_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    cells = len(TABLE) * 2 * len(PEOPLE)
    with capsys.disabled():
        print(f"\npermission matrix: {len(TABLE)} URLs x 2 methods x {len(PEOPLE)} people = {cells} cells")
    assert cells > 1500


def test_a_changed_role_takes_effect_on_the_next_request() -> None:
    user = person("staff without a role", {})
    assert user is not None
    client, url = Client(), reverse("staff:batch-add")
    client.force_login(user)
    assert client.get(url).status_code == 403
    user.groups.add(Group.objects.get(name="issuer"))
    assert client.get(url).status_code == 200
    user.groups.clear()
    assert client.get(url).status_code == 403
    User.objects.filter(pk=user.pk).update(is_staff=False, is_superuser=True)
    assert client.get(url).status_code == 403
    User.objects.filter(pk=user.pk).update(is_staff=True)
    assert client.get(url).status_code == 200
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert client.get(url)["Location"].startswith(reverse("account_login"))


def test_djangos_admin_is_for_staff_only(world: dict[str, Any]) -> None:
    for who in PEOPLE:
        client, user = Client(), person(who, world)
        if user:
            client.force_login(user)
        assert (client.get(reverse("admin:index")).status_code == 200) is bool(user and user.is_staff), who


def test_the_roles_are_described() -> None:
    described = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert [name for name in ROLES if f"\n| `{name}` |" not in described] == []


def test_the_roles_in_the_database_are_those_of_the_table() -> None:
    for name, permissions in ROLES.items():
        rows = Group.objects.get(name=name).permissions.values_list("content_type__app_label", "codename")
        assert {f"{app}.{codename}" for app, codename in rows} == set(permissions), name
