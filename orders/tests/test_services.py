"""What becomes of a service after it was opened: a decision is kept, carried out once, compared with the provider."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import IntegrityError, transaction
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from accounts.models import User
from accounts.tests.commands import run, run_json
from accounts.tests.factories import UserFactory
from cards.choices import AuditAction
from cards.models import AuditEvent
from cards.tests.factories import make_batch
from orders import fulfilment, lifecycle, reconcile
from orders.actions import extend_service, resume_service, settle_service, suspend_service, terminate_service
from orders.choices import ServiceState
from orders.exceptions import NotLater, ServiceExpired, TooLate, WrongState
from orders.models import Service
from orders.provisioning.base import ProvisionerError
from orders.provisioning.simulator import Simulator

from .cast import place_order
from .simulated import plane  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> User:
    return UserFactory.create(username="olga", staff=True)


@pytest.fixture
def service(plane: Simulator) -> Service:  # noqa: F811
    batch, codes = make_batch()
    order = place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    assert fulfilment.run(order.pk)
    return Service.objects.select_related("order").get()


def carry_out(service: Service) -> Service:
    assert lifecycle.run(service.pk)
    service.refresh_from_db()
    return service


def kinds(service: Service) -> list[str]:
    return list(service.order.events.order_by("id").values_list("kind", flat=True))[
        3:
    ]  # after created, started, opened


def shown(plane: Simulator) -> str:  # noqa: F811
    (resource,) = plane.resources(deleted=True)
    return resource.state


def test_there_and_back_and_gone(service: Service, staff: User, plane: Simulator) -> None:  # noqa: F811
    for action, state, at_provider in (
        (suspend_service, ServiceState.SUSPENDED, "suspended"),
        (resume_service, ServiceState.ACTIVE, "active"),
        (terminate_service, ServiceState.TERMINATED, "deleted"),
    ):
        before = service.state
        action(service=service, actor=staff, reason="bill")
        assert (service.state, service.wanted) == (before, state), "decided, not done"
        carry_out(service)
        assert (service.state, service.next_attempt_at, shown(plane)) == (state, None, at_provider)
        assert lifecycle.run(service.pk) is False
    assert kinds(service) == [
        "suspend_asked",
        "suspended",
        "resume_asked",
        "resumed",
        "terminate_asked",
        "terminated",
    ]
    audited = AuditEvent.objects.filter(action=AuditAction.FIX_ORDER, actor=staff).order_by("id")
    assert [event.detail["change"] for event in audited] == [
        "service suspended",
        "service active",
        "service terminated",
    ]


def test_the_wake_up_call_leaves_after_the_commit(
    service: Service,
    staff: User,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks() as calls:
        suspend_service(service=service, actor=staff, reason="")
        with pytest.raises(WrongState):
            suspend_service(service=service, actor=staff, reason="again")
    assert len(calls) == 1


def test_what_ended_stays_ended(service: Service, staff: User) -> None:
    terminate_service(service=service, actor=staff, reason="")
    for action in (suspend_service, resume_service, terminate_service):
        with pytest.raises(WrongState):
            action(service=service, actor=staff, reason="")
    with pytest.raises(WrongState):
        extend_service(service=service, until=service.expires_at + timedelta(days=1), actor=staff, reason="")


def test_a_change_of_mind_during_the_call_is_carried_out_after_it(service: Service, staff: User) -> None:
    suspend_service(service=service, actor=staff, reason="")
    claimed = lifecycle.claim(service.pk)
    assert claimed
    assert lifecycle.claim(service.pk) is None, "one worker at a time"
    resume_service(service=service, actor=staff, reason="paid")
    lifecycle.record_done(claimed, None)
    service.refresh_from_db()
    assert (service.state, service.wanted) == (ServiceState.SUSPENDED, ServiceState.ACTIVE)
    assert service.next_attempt_at is not None
    assert service.next_attempt_at <= timezone.now()
    assert carry_out(service).state == ServiceState.ACTIVE


def test_a_worker_that_wakes_after_its_lease_is_put_right(
    service: Service,
    staff: User,
    plane: Simulator,  # noqa: F811
) -> None:
    suspend_service(service=service, actor=staff, reason="")
    zombie = lifecycle.claim(service.pk)
    assert zombie
    Service.objects.update(lease_until=timezone.now())
    carry_out(service)
    resume_service(service=service, actor=staff, reason="")
    assert carry_out(service).state == ServiceState.ACTIVE
    plane.set_state(service.external_id, "suspended")  # the zombie's call arrives now
    assert lifecycle.record_done(zombie, None) is False
    service.refresh_from_db()
    assert (service.state, shown(plane)) == (ServiceState.ACTIVE, "suspended")
    assert carry_out(service).state == ServiceState.ACTIVE
    assert shown(plane) == "active"


def test_a_provider_that_is_away_is_asked_again_and_then_a_person(
    service: Service,
    staff: User,
    plane: Simulator,  # noqa: F811
    settings: Settings,
) -> None:
    settings.ORDER_MAX_ATTEMPTS = 2
    plane.arm("transient", times=None, verb="suspend")
    suspend_service(service=service, actor=staff, reason="")
    carry_out(service)
    assert (service.attempts, service.needs_attention, service.last_error) == (1, False, "The simulator is busy.")
    assert service.next_attempt_at is not None
    assert service.next_attempt_at > timezone.now()
    carry_out(service)
    assert (service.state, service.needs_attention, service.next_attempt_at) == (ServiceState.ACTIVE, True, None)
    assert kinds(service)[-1] == "service_stuck"
    plane.disarm()
    suspend_service(service=service, actor=staff, reason="once more")
    assert carry_out(service).state == ServiceState.SUSPENDED


def test_a_refusal_waits_for_a_person_who_may_settle_it_by_hand(
    service: Service,
    staff: User,
    plane: Simulator,  # noqa: F811
) -> None:
    plane.arm("fail", verb="suspend")
    suspend_service(service=service, actor=staff, reason="")
    with pytest.raises(WrongState):
        settle_service(service=service, actor=staff, reason="not stuck")
    assert carry_out(service).needs_attention is True
    settle_service(service=service, actor=staff, reason="did it in the panel")
    assert (service.state, service.needs_attention) == (ServiceState.SUSPENDED, False)
    assert kinds(service) == ["suspend_asked", "service_stuck", "suspended"]


def test_a_worker_that_dies_every_time_leaves_it_to_a_person(
    service: Service,
    staff: User,
    plane: Simulator,  # noqa: F811
    settings: Settings,
) -> None:
    settings.ORDER_MAX_ATTEMPTS = 2
    suspend_service(service=service, actor=staff, reason="")
    for _killed in range(2):
        assert lifecycle.claim(service.pk)
        Service.objects.update(lease_until=timezone.now())
    assert carry_out(service).needs_attention is True
    assert plane.calls(verb="suspend") == []


# --- the calendar -----------------------------------------------------------------------------------------------------
def end(service: Service, ago: timedelta) -> None:
    Service.objects.update(starts_at=timezone.now() - ago - timedelta(days=30), expires_at=timezone.now() - ago)


def test_it_is_suspended_at_its_end_and_terminated_only_if_that_is_switched_on(
    service: Service,
    plane: Simulator,  # noqa: F811
    settings: Settings,
) -> None:
    assert lifecycle.sweep_inline() == 0
    end(service, timedelta(days=8))
    assert lifecycle.sweep_inline() == 1
    assert (shown(plane), kinds(service)) == ("suspended", ["suspend_asked", "suspended"])
    assert lifecycle.sweep_inline() == 0, "terminating is off"
    settings.SERVICE_TERMINATE_AFTER = {"cloud_server": timedelta(days=9), "virtual_host": timedelta(days=1)}
    assert lifecycle.sweep_inline() == 0, "the grace period runs"
    settings.SERVICE_TERMINATE_AFTER = {"cloud_server": timedelta(days=7)}
    assert lifecycle.sweep_inline() == 1
    assert shown(plane) == "deleted"
    assert lifecycle.sweep_inline() == 0


def test_an_ended_service_is_resumed_only_after_its_term_was_extended(
    service: Service,
    staff: User,
    plane: Simulator,  # noqa: F811
) -> None:
    end(service, timedelta(hours=1))
    lifecycle.sweep_inline()
    service.refresh_from_db()
    with pytest.raises(ServiceExpired):
        resume_service(service=service, actor=staff, reason="")
    with pytest.raises(NotLater):
        extend_service(service=service, until=timezone.now() - timedelta(minutes=1), actor=staff, reason="")
    with pytest.raises(TooLate, match="20 years from now"):
        extend_service(service=service, until=timezone.now() + timedelta(days=7310), actor=staff, reason="for ever")
    extend_service(service=service, until=timezone.now() + timedelta(days=30), actor=staff, reason="renewed")
    with pytest.raises(NotLater):
        extend_service(service=service, until=timezone.now() + timedelta(days=29), actor=staff, reason="")
    resume_service(service=service, actor=staff, reason="renewed")
    lifecycle.sweep_inline()
    assert shown(plane) == "active"


# --- what the provider shows ----------------------------------------------------------------------------------------
def look(service: Service) -> Service:
    Service.objects.update(check_at=timezone.now())
    assert reconcile.check_inline() == 1
    service.refresh_from_db()
    return service


def test_what_was_delivered_is_read_back(service: Service, plane: Simulator) -> None:  # noqa: F811
    assert service.facts["cpu_cores"] == 2
    (resource,) = plane.resources()
    assert service.facts["address"] == resource.addresses[0]
    Service.objects.update(facts={})
    assert look(service).facts == resource.spec | {
        "hostname": resource.hostname,
        "image": resource.image,
        "address": resource.addresses[0],
    }
    assert reconcile.check_inline() == 0, "asked again only after the interval"


@pytest.mark.parametrize("behind_our_back", ["suspended", "deleted"])
def test_drift_is_listed_and_left_alone(service: Service, plane: Simulator, behind_our_back: str) -> None:  # noqa: F811
    assert run_json("list_services", "--drift") == []
    plane.set_state(service.external_id, behind_our_back)
    look(service)
    (facts,) = run_json("list_services", "--drift")
    assert (facts["order"], facts["state"]) == (service.order.number, "active")
    assert facts["seen_state"] == {"suspended": "suspended", "deleted": "terminated"}[behind_our_back]
    lifecycle.sweep_inline()
    assert shown(plane) == behind_our_back


def test_a_provider_that_does_not_answer_says_nothing(service: Service, plane: Simulator) -> None:  # noqa: F811
    before = look(service).seen_at
    plane.arm("transient", verb="find")
    Service.objects.update(check_at=timezone.now())
    assert reconcile.check_inline() == 0
    service.refresh_from_db()
    assert (service.seen_state, service.seen_at) == ("active", before)
    assert service.check_at > timezone.now()


def test_a_look_that_a_change_overtook_writes_nothing(
    service: Service, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reconcile.get_provisioner

    class Overtaken:
        def __init__(self, key: str) -> None:
            self.key = key

        def find(self, key: Any) -> Any:
            found = real(self.key).find(key)
            suspend_service(service=service, actor=staff, reason="")
            carry_out(service)
            return found

    monkeypatch.setattr(reconcile, "get_provisioner", Overtaken)
    assert reconcile.check(service.pk)
    service.refresh_from_db()
    assert (service.state, service.seen_state) == (ServiceState.SUSPENDED, "suspended")


# --- the database keeps it too ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrong",
    [
        {"wanted": "suspended"},  # decided, and nobody at it
        {"wanted": "terminated", "needs_attention": True, "next_attempt_at": timezone.now()},
        {"state": "terminated", "needs_attention": True},  # ended, and wanted otherwise
        {"state": "asleep"},
    ],
)
def test_rows_that_cannot_be(service: Service, wrong: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Service.objects.update(**wrong)


# --- commands ---------------------------------------------------------------------------------------------------
def test_the_commands(service: Service, staff: User, plane: Simulator) -> None:  # noqa: F811
    number = service.order.number
    facts = run_json("suspend_service", number, "--actor", "olga", "--reason", "unpaid", "--wait")
    assert (facts["state"], shown(plane)) == ("suspended", "suspended")
    with pytest.raises(CommandError, match="does not allow"):
        run("suspend_service", number, "--actor", "olga")
    assert run_json("resume_service", number, "--actor", "olga", "--wait")["state"] == "active"
    assert [facts["order"] for facts in run_json("list_services", "--ending", 400)] == [number]
    assert run_json("list_services", "--ending", 1) == run_json("list_services", "--stuck") == []
    facts = run_json("terminate_service", number, "--actor", "olga")
    assert (facts["state"], facts["wanted"]) == ("active", "terminated")
    assert run_json("sweep")["services"] == 1
    assert number in run("list_services")
    with pytest.raises(CommandError, match="no order"):
        run("suspend_service", "NONE-SUCH", "--actor", "olga")


def test_an_adapters_bug_tells_no_secret(
    service: Service, staff: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Buggy:
        def __init__(self, key: str) -> None:
            pass

        def suspend(self, external_id: str) -> None:
            raise KeyError("hunter2")

        def find(self, key: Any) -> None:
            raise KeyError("hunter2")

    for module in (lifecycle, reconcile):
        monkeypatch.setattr(module, "get_provisioner", Buggy)
    suspend_service(service=service, actor=staff, reason="")
    assert carry_out(service).last_error == "KeyError"
    Service.objects.update(check_at=timezone.now())
    assert reconcile.check_inline() == 0, "and the services after it are looked at all the same"
    assert "hunter2" not in caplog.text
    assert not issubclass(KeyError, ProvisionerError)
