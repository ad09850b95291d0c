"""Fixtures for every test: the database, real processes of the portal, and a browser."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import pytest_django
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.db import connection
from django.utils import translation

from pickup_portal.lifeline import die_with_parent
from pickup_portal.testing import emptying
from pickup_portal.testing.marks import PATIENCE, find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_configure() -> None:
    # Cheap for us, and still Argon2 for the real processes that check the same passwords.
    Argon2PasswordHasher.time_cost, Argon2PasswordHasher.memory_cost, Argon2PasswordHasher.parallelism = 1, 8, 1
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
    emptying.install()
    # A busy machine makes examples slowly; that says nothing of what they are examples of.
    hypothesis.settings.register_profile(
        "portal", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("portal")


def pytest_collection_finish() -> None:
    """What is there before the first test stays to the end: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """On SQLite the test database is a file, so that real processes can share it; and it need not reach the disk."""
    if connection.vendor == "sqlite":
        values = connection.settings_dict
        values["TEST"]["NAME"] = str(settings.DATA_DIR / "test.sqlite3")
        values["OPTIONS"]["init_command"] = values["OPTIONS"]["init_command"].replace(
            "synchronous=FULL", "synchronous=OFF"
        )


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        emptying.remember()
    yield
    with django_db_blocker.unblock():
        end_other_sessions()


def end_other_sessions() -> None:
    """A request that its browser no longer waits for may still run in the live server, and a database in use cannot be
    dropped."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
            )


@pytest.fixture(autouse=True)
def own_language() -> Iterator[None]:
    """No test reads the language that another one left behind in this thread."""
    yield
    translation.deactivate()


# --- Real processes ---------------------------------------------------------------------------------------------
@pytest.fixture
def portal_env(transactional_db: None) -> dict[str, str]:
    """The environment in which a process of the portal works on this test's database and broker."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{values['NAME']}"
    else:
        host, port = values["HOST"] or values.get("OPTIONS", {}).get("host", ""), values["PORT"]
        login = f"{values['USER']}:{values['PASSWORD']}" if values["PASSWORD"] else values["USER"]
        where = (
            f"@/{values['NAME']}?host={host}" if host.startswith("/") else f"@{host}:{port or 5432}/{values['NAME']}"
        )
        url = f"postgres://{login}{where}"
    return os.environ | {"DATABASE_URL": url, "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def start_process(portal_env: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`start_process("-m", "celery", ...)` runs Python with these arguments until the test ends."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **extra_env: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, *arguments],
            env=portal_env | extra_env,
            cwd=settings.BASE_DIR,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and its children, who hold connections to the database
        process.wait()


@pytest.fixture
def celery_worker_process(start_process: Callable[..., subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """A real worker, and a scheduler beside it, on an empty queue."""
    from pickup_portal.celery import app

    app.control.purge()
    celery = ["-m", "celery", "--quiet", "--app", "pickup_portal"]
    start_process(*celery, "beat", "--scheduler", "celery.beat:Scheduler", "--loglevel", "ERROR")
    return start_process(*celery, "worker", "--without-gossip", "--without-mingle", "--loglevel", "ERROR")


# --- Browser ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    # While Playwright's event loop runs in this thread, Django's connection is another one than before and after. A
    # forked child has no such loop: it would go on with the one from before, which this process still holds.
    connection.close()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=BROWSER_ARGUMENTS, timeout=PATIENCE)
        yield browser
        browser.close()
        connection.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A fresh page in English; an error in its console or script fails the test."""
    context = chromium.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert not errors, errors
