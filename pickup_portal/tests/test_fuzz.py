"""Whatever is posted to a member's form, the answer is a page or a refusal: no 500, no traceback, no growing memory.

A few hundred here, in this process; ten thousand over HTTP with `make fuzz` (FUZZ sets how many).
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from accounts.tests.factories import PASSWORD, UserFactory
from cards.choices import CardStatus, ProductType
from cards.models import Card
from cards.tests.factories import make_batch
from orders.choices import OrderState
from orders.tests.cast import place_order, put_into
from orders.tests.race import CSRF, session_of, start_web
from orders.tests.simulated import plane

from .fuzz import Form, Post, posts

__all__ = ["plane"]
FUZZ = int(os.environ.get("FUZZ", "10000"))
FLAT_MB = 25
FINE = {200, 204, 302, 303, 400, 401, 403, 404, 405, 409, 411, 413, 415, 422, 429}


@pytest.fixture
def member(db: None) -> User:
    return UserFactory.create(email="fuzz@example.com")


def member_forms(member: User) -> list[Form]:
    """Every form a member or a visitor can post, with what a browser would send."""
    _batch, (site_code, _other) = make_batch(product_type=ProductType.VIRTUAL_HOST, quantity=2)
    batch, codes = make_batch(quantity=3)
    order = put_into(place_order(code=site_code, member=member), OrderState.ACTIVE)
    image = str(batch.line.images.get().pk)
    wishes = {"hostname": "web-1", "ssh_key": "", "password": "", "domain": "", "agreed": "0"}
    unknown = "0" * 25
    return [
        Form("/cards/redeem/", {"step": "check", "code": unknown}),
        Form("/cards/redeem/", {"step": "check", "code": codes[0]}),
        Form("/cards/redeem/", {"step": "confirm", "code": unknown, "image": image} | wishes),
        Form("/cards/redeem/", {"step": "confirm", "code": codes[1], "image": image} | wishes),
        Form(f"/orders/{order.number}/access/", {"x": "1"}),
        Form(f"/services/{order.number}/access/", {"x": "1"}),
        Form(f"/services/{order.number}/domain/", {"domain": "www.example.com"}),
        Form("/accounts/profile/", {"language": "en", "time_zone": "Europe/Berlin"}),
        Form("/i18n/setlang/", {"language": "zh-hans", "next": "/orders/"}),
        Form("/accounts/login/", {"login": "fuzz", "password": "wrong", "remember": "on"}, member=False),
        Form(
            "/accounts/signup/", {"email": "a@example.com", "username": "a", "password1": "x", "password2": "x"}, False
        ),
        Form("/accounts/password/reset/", {"email": "fuzz@example.com"}, member=False),
        Form("/accounts/password/change/", {"oldpassword": "wrong", "password1": "x" * 12, "password2": "x" * 12}),
        Form("/accounts/email/", {"email": "b@example.com", "action_add": ""}),
        Form("/accounts/reauthenticate/", {"password": "wrong"}),
        Form("/accounts/2fa/totp/activate/", {"code": "123456"}),
        Form("/accounts/2fa/webauthn/add/", {"name": "key", "credential": "{}"}),
        Form("/accounts/2fa/webauthn/login/", {"credential": "{}"}, member=False),
        Form("/accounts/3rdparty/", {"account": "1"}),
    ]


@pytest.mark.django_db
def test_a_few_hundred(member: User, plane: object, settings: Settings) -> None:
    settings.THROTTLE_MEMBER = 10_000
    settings.ACCOUNT_RATE_LIMITS = False
    forms = member_forms(member)
    clients = {True: Client(enforce_csrf_checks=True), False: Client(enforce_csrf_checks=True)}
    for client in clients.values():
        client.cookies[settings.CSRF_COOKIE_NAME] = CSRF
    for post in posts(forms, 250, seed=20):
        if post.form.member:
            clients[True].force_login(member)
        client = clients[post.form.member]
        headers = {"X-CSRFToken": CSRF}
        response = client.generic("POST", post.form.path, post.body, content_type=post.content_type, headers=headers)
        assert response.status_code in FINE, (post.form.path, post.content_type, post.body[:300])
        assert b"Traceback" not in getattr(response, "content", b"")


# --- Over HTTP -----------------------------------------------------------------------------------------------------
def raw(post: Post, session: str) -> bytes:
    cookies = f"{settings.CSRF_COOKIE_NAME}={CSRF}"
    if post.form.member:
        cookies += f"; {settings.SESSION_COOKIE_NAME}={session}"
    head = (
        f"POST {post.form.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: {cookies}\r\n"
        f"X-CSRFToken: {CSRF}\r\nContent-Type: {post.content_type}\r\nContent-Length: {len(post.body)}\r\n\r\n"
    )
    return head.encode("latin-1") + post.body


def answer_to(port: int, request: bytes) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with suppress(OSError):  # refused before it was read to the end: the answer is there all the same
            connection.sendall(request)
        reply = b""
        while part := connection.recv(65536):
            reply += part
    return int(reply.split(b" ", 2)[1]), reply


def resident_mb(process: Any) -> float:
    """Of the web processes, children of `process`, together."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in children)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.heavy
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc for the memory of the web process")
def test_ten_thousand_over_http_and_memory_stays_flat(
    member: User, plane: object, start_process: Callable[..., Any]
) -> None:
    started: list[Any] = []

    def start(*arguments: str) -> None:
        started.append(
            start_process(*arguments, THROTTLE_MEMBER="30000", EMAIL_URL="dummymail://", LOG_LEVEL="CRITICAL")
        )

    port = start_web(start, "pickup_portal.tests.fuzz_wsgi", workers=1, threads=2)
    forms = member_forms(member)
    session, statuses, memory = session_of(member), Counter[int](), []
    wrong = []
    for number, post in enumerate(posts(forms, FUZZ, seed=5)):
        status, reply = answer_to(port, raw(post, session))
        statuses[status] += 1
        if status not in FINE or b"Traceback" in reply:
            wrong.append((status, post.form.path, post.content_type, post.body[:200]))
        if number % (FUZZ // 10) == FUZZ // 10 - 1:
            memory.append(round(resident_mb(started[0]), 1))
            session = session_of(member)
    print(f"\n{FUZZ} posts to {len(forms)} forms: {dict(sorted(statuses.items()))}; resident MB {memory}")
    assert not wrong, wrong[:5]
    assert memory[-1] - memory[1] < FLAT_MB
    assert Card.objects.exclude(status=CardStatus.USED).exists()
    assert User.objects.get(pk=member.pk).check_password(PASSWORD)
