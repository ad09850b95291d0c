from __future__ import annotations

import io
import uuid
from datetime import date

import pytest
from django.core.management.base import CommandError

from accounts.tests.commands import run, run_json
from accounts.tests.factories import UserFactory
from cards import generation
from cards.models import AuditEvent, Batch, Card, Line
from cards.tests.factories import LineFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def line() -> Line:
    return LineFactory.create(name="香港 CN2")


def create(*more: object) -> list[object]:
    return ["--type", "cloud_server", "--name", "云服务器-香港", "--line", "香港 CN2", "--quantity", 3, *more]


def test_the_batch_waits_for_the_worker(line: Line) -> None:
    facts = run_json("create_batch", *create("--valid-months", 12))
    assert (facts["status"], facts["generated"], facts["quantity"]) == ("generating", 0, 3)
    assert Card.objects.count() == 0


def test_wait_generates_the_cards_here(line: Line) -> None:
    facts = run_json("create_batch", *create("--valid-months", 12, "--wait"))
    assert (facts["status"], facts["generated"]) == ("normal", 3)
    assert Card.objects.filter(batch=facts["id"]).count() == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_sees_how_far_it_is(line: Line, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHUNK_POSTGRES", "CHUNK_SQLITE"):
        monkeypatch.setattr(generation, name, 2)
    errors = io.StringIO()
    monkeypatch.setattr(errors, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stderr", errors)
    run("create_batch", *create("--valid-months", 12, "--quantity", 5, "--wait"))
    told = [line.strip("\r") for line in errors.getvalue().split("\x1b[K")]
    assert told == (["", "3 cards to make", "1 cards to make", ""] if terminal else [""])


def test_every_option_reaches_the_batch(line: Line) -> None:
    staff = UserFactory.create(staff=True)
    run(
        "create_batch",
        *create("--valid-until", "2045-12-31", "--term", 24, "--windows", "included", "--price", "1000.00"),
        *("--spec", "cpu_cores=4", "--spec", "memory_gb=8", "--actor", staff.username, "--note", "spring sale"),
    )
    batch = Batch.objects.get()
    assert (batch.spec["cpu_cores"], batch.spec["memory_gb"], batch.spec["ip_count"]) == (4, 8, 1)
    assert (batch.last_day.date(), batch.term_months, batch.windows_policy) == (date(2045, 12, 31), 24, "included")
    assert (str(batch.reference_price), batch.created_by, batch.note) == ("1000.00", staff, "spring sale")
    assert AuditEvent.objects.get(batch=batch).actor == staff


def test_the_same_token_makes_one_batch(line: Line) -> None:
    token = uuid.uuid4()
    first = run_json("create_batch", *create("--valid-months", 12, "--token", token))
    second = run_json("create_batch", *create("--valid-months", 12, "--token", token))
    assert first["id"] == second["id"]
    assert Batch.objects.count() == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--valid-months", 12, "--spec", "cpu_cores=0"], "cpu_cores"),
        (["--valid-months", 12, "--spec", "colour=red"], "colour=red"),
        (["--valid-months", 12, "--line", "nowhere"], "no line 'nowhere'"),
        (["--valid-months", 12, "--actor", "nobody"], "“nobody”"),
        (["--valid-months", 12, "--price", "cheap"], "not an amount"),
        (["--valid-until", "2021-06-30"], "validity"),
        (["--valid-until", "30.06.2045"], "not a date"),
        ([], "--valid-until"),
        (["--valid-months", 12, "--name", "x" * 101], "one line of at most 100"),
        (["--valid-months", 12, "--name", "two\nlines"], "one line of at most 100"),
        (["--valid-months", 12, "--note", "x" * 501], "it has 501 characters; 500 at most"),
        *((["--valid-months", 12, "--price", price], "with two decimals at most") for price in ("1.005", "nan", "-1")),
    ],
)
def test_a_refusal_names_the_fault_and_makes_nothing(line: Line, more: list[object], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run("create_batch", *create(*more))
    assert not Batch.objects.exists()


def test_a_member_cannot_be_the_actor(line: Line) -> None:
    member = UserFactory.create()
    with pytest.raises(CommandError, match="not an active member of staff"):
        run("create_batch", *create("--valid-months", 12, "--actor", member.username))
