from __future__ import annotations

import json
import stat
from io import StringIO
from pathlib import Path

import pytest
from django.core.management.base import CommandError
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from accounts.tests.commands import run, run_json
from cards import actions
from cards.choices import BatchShown, ProductType
from cards.models import Batch, Card
from cards.tests.factories import make_batch
from orders import redemption
from orders.models import Order, Service
from orders.provisioning.simulator import Simulator
from pickup_portal import demo, seeding
from pickup_portal.management.commands.serve import Command

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    settings.SIMULATOR_LEDGER = str(tmp_path / "plane.sqlite3")
    return tmp_path


def test_the_demo_is_the_feature_texts(data_dir: Path) -> None:
    run("seed_demo")
    rows = {batch.request_token: batch for batch in Batch.objects.with_used()}
    made = {wanted.key: rows[seeding.token_of(wanted.key)] for wanted in demo.BATCHES}
    assert {key: (made[key].used_cards, made[key].quantity) for key in ["1", "2", "4", "5", "6", "71", "78"]} == {
        "1": (3, 10),
        "2": (3, 100),
        "4": (4, 20),
        "5": (2, 100),
        "6": (3, 5),
        "71": (1, 1),
        "78": (2, 100),
    }
    assert (made["78"].last_day.date().isoformat(), made["78"].shown) == ("2021-07-28", BatchShown.EXPIRED)
    assert {str(made[key].reference_price) for key in "12345679"} == {"1000.00"}
    assert {batch.shown for batch in made.values()} == set(BatchShown) - {
        BatchShown.WAITING,
        BatchShown.GENERATING,
        BatchShown.CANCELLED,
    }
    assert set(Order.objects.values_list("state", flat=True)) == {
        "active",
        "provisioning",
        "failed",
        "needs_attention",
    }
    assert run("check_invariants").count("BROKEN") == 0


def test_everybody_of_the_demo_may_set_up_a_second_factor() -> None:
    run("seed_demo")
    assert not User.objects.exclude(emailaddress__verified=True, emailaddress__primary=True).exists()


def test_ids_grow_with_time() -> None:
    run("seed_demo")
    for rows in (Batch.objects, Order.objects):
        times = list(rows.order_by("id").values_list("created_at", flat=True))
        assert times == sorted(times)


def test_the_file_is_private_and_its_contents_work(data_dir: Path, client: Client) -> None:
    run("seed_demo")
    path = data_dir / "demo.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    facts = json.loads(path.read_text())
    assert client.login(username=facts["staff"]["login"], password=facts["staff"]["password"])
    assert client.login(username=facts["member"]["login"], password=facts["member"]["password"])
    member = User.objects.get(username=facts["member"]["login"])
    previews = [redemption.preview(code=card["code"], member=member) for card in facts["codes"]]
    assert {preview.product_type for preview in previews} == set(ProductType.values)


def test_a_second_time_changes_nothing_but_offers_unused_codes() -> None:
    first = run_json("seed_demo")
    counts = [model.objects.count() for model in (User, Batch, Card, Order, Service)]
    member = User.objects.get(username=demo.MEMBER_LOGIN)
    host = next(card for card in first["codes"] if card["product_type"] == ProductType.VIRTUAL_HOST)
    redemption.redeem(code=host["code"], member=member)
    second = run_json("seed_demo")
    assert second["made"] is False
    assert host["code"] not in [card["code"] for card in second["codes"]]
    assert len(second["codes"]) == 3
    assert [model.objects.count() for model in (User, Batch, Card, Order, Service)] == [
        *counts[:3],
        counts[3] + 1,
        counts[4],
    ]


def test_a_portal_started_again_tells_codes_that_still_work(data_dir: Path) -> None:
    serve = Command(stdout=StringIO())
    serve.prepare_demo()
    first = json.loads((data_dir / "demo.json").read_text())
    host = next(card for card in first["codes"] if card["product_type"] == ProductType.VIRTUAL_HOST)
    redemption.redeem(code=host["code"], member=User.objects.get(username=demo.MEMBER_LOGIN))
    serve.prepare_demo()
    told = [card["code"] for card in json.loads((data_dir / "demo.json").read_text())["codes"]]
    assert (len(told), host["code"] in told) == (3, False)


def test_a_seeding_that_was_killed_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = actions.create_batch, []

    def killed_at_the_last(**options: object) -> Batch:
        calls.append(options)
        if len(calls) == len(demo.BATCHES):
            raise KeyboardInterrupt
        return real(**options)  # type: ignore[arg-type]

    monkeypatch.setattr(actions, "create_batch", killed_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        run("seed_demo")
    monkeypatch.undo()
    assert not seeding.is_whole()
    assert run_json("seed_demo")["made"] is True
    assert Batch.objects.count() == len(demo.BATCHES)
    assert Order.objects.count() == len(demo.USES)
    assert Simulator().doubles() == {}


def test_a_portal_with_data_of_its_own_is_left_alone() -> None:
    make_batch()
    assert run_json("seed_demo") == {"made": False, "why": "the portal holds data of its own"}
    assert not User.objects.filter(username=demo.MEMBER_LOGIN).exists()


def test_production_refuses_it(settings: Settings) -> None:
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="refused in production"):
        run("seed_demo")
    assert not Batch.objects.exists()
