"""`bench` measures what it says, changes nothing it does not say, and fails when a page fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from django.contrib.sessions.models import Session
from django.core.management.base import CommandError
from django.http import HttpRequest, HttpResponse
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from accounts.tests.commands import run, run_json
from accounts.tests.factories import UserFactory
from accounts.wakeup import muted
from cards import actions
from cards.choices import CardStatus, ProductType
from cards.models import AuditEvent, Batch, Card, Line
from cards.tests.factories import make_batch
from orders import fulfilment, redemption, views
from orders.choices import OrderState
from orders.models import Order
from pickup_portal.bench import pages, redeem, scratch

pytestmark = pytest.mark.django_db

CONSENT = "--i-know-it-makes-cards-and-orders"


@pytest.fixture(autouse=True)
def plane(settings: Settings, tmp_path: Path) -> None:
    settings.SIMULATOR_LEDGER = str(tmp_path / "plane.sqlite3")
    options = {"delay": 0}
    settings.PROVISIONERS = {
        "simulator": {"BACKEND": "orders.provisioning.simulator.SimulatorProvisioner", "OPTIONS": options}
    }


@pytest.fixture
def somebody_with_an_order() -> User:
    UserFactory.create(superuser=True)
    member = UserFactory.create()
    with muted():
        _batch, codes = make_batch(product_type=ProductType.VIRTUAL_HOST)
        order = redemption.redeem(code=codes[0], member=member)
    fulfilment.run(order.pk)
    order.refresh_from_db()
    assert order.state == OrderState.ACTIVE
    return member


def test_every_page_is_measured_and_nothing_changed(
    somebody_with_an_order: User, django_assert_num_queries: Callable[[int], AbstractContextManager[object]]
) -> None:
    before = kept_rows()
    result = run_json("bench", "pages", "-n", 1)
    assert kept_rows() == before
    rows = {(row["page"], row["who"]): row for row in result["pages"]}
    assert {row["status"] for row in rows.values()} <= {200, 302}
    assert {("home", "visitor"), ("home", "member"), ("orders:detail", "member"), ("staff:batch-list", "staff")} <= set(
        rows
    )
    assert {"staff-orders:retry", "staff:batch-quote", "orders:access"} <= set(result["post_only"])
    home = rows["home", "member"]
    assert home["queries"] > 0
    assert home["kb"] > home["gzip_kb"] > 0
    assert home["p95_ms"] >= home["median_ms"] > 0
    client = Client()
    client.force_login(somebody_with_an_order)
    with django_assert_num_queries(rows["orders:list", "member"]["queries"]):  # they are counted as Django counts them
        client.get("/orders/")


def kept_rows() -> list[list[object]]:
    people, events = User.objects.values_list("pk", "last_login"), AuditEvent.objects.values_list("pk")
    return [list(people), list(events), list(Session.objects.all())]


def test_a_page_that_breaks_fails_the_command(somebody_with_an_order: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(request: HttpRequest, *args: object) -> HttpResponse:
        raise RuntimeError

    monkeypatch.setattr(views, "_own_order", broken)
    with pytest.raises(CommandError, match=r"Neither 200 nor 302: orders:detail, orders:status\."):
        run("bench", "pages", "-n", 1)


def test_an_empty_portal_is_said_to_be_empty() -> None:
    with pytest.raises(CommandError, match="seed_demo makes them"):
        run("bench", "pages")


@pytest.fixture
def own_web(portal_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The gunicorn that the command starts works on this test's database."""
    monkeypatch.setenv("DATABASE_URL", portal_env["DATABASE_URL"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("own_web")
def test_redeeming_is_measured_and_leaves_true_rows() -> None:
    result = run_json("bench", "redeem", "-n", 12, CONSENT)
    assert (result["redemptions"], result["connections"]) == (12, 12)
    assert result["per_second"] > 0
    assert result["bare_per_second"] > 0
    assert result["ratio"] > 0
    assert result["p95_ms"] >= result["median_ms"] > 0
    assert Order.objects.count() == 24  # twelve to warm up
    assert set(Order.objects.values_list("state", "provider")) == {(OrderState.PENDING, "simulator")}
    assert Order.objects.values("member").distinct().count() == 12
    assert Card.objects.filter(status=CardStatus.USED).count() == 24
    assert Card.objects.filter(status=CardStatus.UNUSED, sealed__isnull=False).count() == 24
    batch = Batch.objects.get()
    assert batch.disabled_at is not None
    assert not Line.objects.get().active
    members = User.objects.filter(username__startswith=scratch.BENCH_MEMBER)
    assert not any(member.has_usable_password() for member in members)
    assert not Session.objects.exists()
    assert "BROKEN" not in run("check_invariants")


def test_redeeming_needs_consent_and_development(settings: Settings) -> None:
    with pytest.raises(CommandError, match=CONSENT):
        run("bench", "redeem")
    settings.PORTAL_ENV = "production"
    with pytest.raises(CommandError, match="refused outside development"):
        run("bench", "redeem", CONSENT)
    assert not Batch.objects.exists()


def test_redeeming_refuses_a_control_plane_that_opens_real_products(settings: Settings) -> None:
    settings.PROVISIONERS = {
        "simulator": {"BACKEND": "orders.provisioning.webhook.WebhookProvisioner", "OPTIONS": {"url": "https://x.test"}}
    }
    with pytest.raises(CommandError, match="must be the simulator"):
        run("bench", "redeem", CONSENT)
    assert not Batch.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("own_web")
def test_an_answer_that_is_no_redirect_fails_the_command_and_is_cleaned_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redeem, "CSRF", "a token that fits nowhere")
    with pytest.raises(CommandError, match=r"/cards/redeem/ answered \[403\]"):
        run("bench", "redeem", "-n", 2, CONSENT)
    assert not Order.objects.exists()
    assert Batch.objects.get().disabled_at is not None
    assert "BROKEN" not in run("check_invariants")


@pytest.mark.parametrize(("share", "expected"), [(0.5, 10.0), (0.95, 19.0), (1.0, 20.0)])
def test_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert pages.percentile([float(n) for n in range(20, 0, -1)], share) == expected


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("own_web")
def test_the_scratch_batch_is_made_by_the_portals_own_action(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = actions.create_batch
    monkeypatch.setattr(actions, "create_batch", lambda **options: made.append(options) or real(**options))
    run("bench", "redeem", "-n", 1, CONSENT)
    assert [options["quantity"] for options in made] == [4]


def test_more_cards_than_a_batch_may_have_are_refused_in_words(settings: Settings) -> None:
    settings.BATCH_MAX_QUANTITY = 20
    with pytest.raises(scratch.CannotMeasure, match="20 cards; BATCH_MAX_QUANTITY allows more"):
        scratch.scratch_batch(21, made=False)
    assert not Batch.objects.exists()
