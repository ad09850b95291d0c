"""The thread that publishes for a web process: nobody waits for the broker, and nothing that waits is overlooked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery import Task
from pytest_django import Settings

from accounts import wakeup
from accounts.wakeup import Sender, call_after_commit, muted

from .factories import UserFactory


class NamedTask(Task):  # type: ignore[misc,type-arg]
    name = "test.task"


TASK = NamedTask()


class Broker:
    """Takes calls, and keeps the sender waiting in `publish` while it is frozen."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.entered, self.thawed, self.changed = threading.Event(), threading.Event(), threading.Condition()
        self.thawed.set()

    def publish(self, task: Task[Any, Any], primary_key: int) -> None:
        self.entered.set()
        assert self.thawed.wait(120)
        with self.changed:
            self.taken.append(primary_key)
            self.changed.notify()
        if primary_key < 0:
            raise RuntimeError

    def await_calls(self, number: int) -> list[int]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.taken) >= number, 30), self.taken
        return self.taken


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def sender(broker: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Sender:
    settings.PROVISIONER_PLACES = 2
    monkeypatch.setattr(Sender, "PAUSE", 0.001)
    return Sender(broker.publish)


def freeze(broker: Broker, sender: Sender) -> None:
    """The sender stands before a broker that does not answer."""
    broker.thawed.clear()
    sender.put(TASK, 0, "")
    assert broker.entered.wait(120)


def test_every_call_is_published(broker: Broker, sender: Sender) -> None:
    for number in range(50):
        sender.put(TASK, number, "")
    assert sorted(broker.await_calls(50)) == list(range(50))


def test_a_frozen_broker_keeps_nobody_waiting_and_what_is_too_much_is_dropped(broker: Broker, sender: Sender) -> None:
    freeze(broker, sender)
    for number in range(1, 3 * Sender.MOST):
        sender.put(TASK, number, "")  # returns, though nothing is published
    assert broker.taken == []
    broker.thawed.set()
    assert broker.await_calls(1 + Sender.MOST) == list(range(1 + Sender.MOST))


def test_a_lane_is_called_as_often_as_there_are_places_and_again_for_what_comes_later(
    broker: Broker, sender: Sender
) -> None:
    freeze(broker, sender)
    for number in range(1, 100):
        sender.put(TASK, number, "hk")
    sender.put(TASK, 100, "us")  # another lane's, which has places of its own
    broker.thawed.set()
    assert broker.await_calls(4) == [0, 1, 2, 100]
    sender.put(TASK, 101, "hk")
    assert broker.await_calls(5)[4] == 101


def test_the_thread_outlives_whatever_publishing_throws(broker: Broker, sender: Sender) -> None:
    sender.put(TASK, -1, "")
    broker.await_calls(1)
    sender.put(TASK, 1, "")
    assert broker.await_calls(2) == [-1, 1]


@pytest.mark.django_db
def test_what_is_called_after_a_commit_goes_to_the_thread_once_there_is_one(
    broker: Broker,
    sender: Sender,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    in_place: list[int] = []
    monkeypatch.setattr(wakeup, "call_now", lambda task, primary_key: in_place.append(primary_key))
    with django_capture_on_commit_callbacks(execute=True):
        call_after_commit(TASK, 1)
    assert in_place == [1]
    monkeypatch.setattr(wakeup, "_sender", sender)
    with django_capture_on_commit_callbacks(execute=True):
        UserFactory.create()
        call_after_commit(TASK, 2)
        assert broker.taken == []
    assert broker.await_calls(1) == [2]
    with muted(), django_capture_on_commit_callbacks(execute=True):
        call_after_commit(TASK, 3)
    with django_capture_on_commit_callbacks(execute=True):
        call_after_commit(TASK, 4)
    assert broker.await_calls(2) == [2, 4]
    assert in_place == [1]
