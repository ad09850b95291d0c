from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from pickup_portal import embedded
from pickup_portal.checks import (
    check_choices,
    check_keys,
    check_production,
    check_proxies,
    check_sign_in,
    refuse_unfit_settings,
)

WEBHOOK = "orders.provisioning.webhook.WebhookProvisioner"


def a_key(key_id: str = "2026a", size: int = 32) -> str:
    # Not random: the names of parametrized tests must be the same in every process of a test run.
    return f"{key_id}:{base64.urlsafe_b64encode(bytes(range(200, 200 + size))).decode()}"


def ids(messages: list) -> list[str]:
    return [message.id for message in messages]


@pytest.fixture
def production(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Production settings without fault, for a test to spoil one of."""
    settings.PRODUCTION = True
    settings.PORTAL_ENV = "production"
    settings.DEBUG = False
    settings.SECRET_KEY = secrets.token_urlsafe(50)
    settings.CARD_MASTER_KEYS = f"{a_key('b')} {a_key('a')}"
    settings.CARD_INDEX_KEY = a_key()
    settings.ACCESS_KEYS = a_key()
    settings.AUDIT_KEYS = a_key()
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:6379/0"
    settings.ALLOWED_HOSTS = ["cards.example.com"]
    settings.SITE_URL = "https://cards.example.com"
    settings.PROVISIONERS = {"hk": {"BACKEND": "somewhere.Cloud"}}
    return settings


def test_sound_production_settings_pass(production: Settings) -> None:
    assert check_production() == []
    assert check_keys() == []
    assert check_choices() == []
    refuse_unfit_settings()
    production.ALLOWED_HOSTS = [".example.com"]
    assert check_production() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DEBUG", True, "portal.E010"),
        ("SECRET_KEY", "missing", "portal.E011"),
        ("SECRET_KEY", "embedded-abc", "portal.E012"),
        ("CARD_MASTER_KEYS", f"{a_key()} {a_key('embedded1')}", "portal.E012"),
        ("CARD_INDEX_KEY", a_key("embedded"), "portal.E012"),
        ("ACCESS_KEYS", a_key("embedded1"), "portal.E012"),
        ("ALLOWED_HOSTS", [], "portal.E015"),
        ("ALLOWED_HOSTS", ["*"], "portal.E017"),
        ("ALLOWED_HOSTS", ["cards.example.com", "*"], "portal.E017"),
    ],
)
def test_production_refuses(production: Settings, name: str, value: object, expected: str) -> None:
    setattr(production, name, value)
    assert ids(check_production()) == [expected]
    with pytest.raises(ImproperlyConfigured):
        refuse_unfit_settings()


def test_production_refuses_sqlite(production: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(production.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
    assert ids(check_production()) == ["portal.E013"]


def test_production_refuses_the_embedded_broker(production: Settings) -> None:
    production.CELERY_BROKER_URL = f"redis+socket://{embedded.broker_socket(production.DATA_DIR)}?virtual_host=0"
    assert ids(check_production()) == ["portal.E014"]


def test_production_warns_of_the_simulator(production: Settings) -> None:
    production.PROVISIONERS = {"x": {"BACKEND": "orders.provisioning.simulator.SimulatorProvisioner"}}
    assert ids(check_production()) == ["portal.W001"]
    refuse_unfit_settings()


@pytest.mark.parametrize(
    ("count", "expected"), [(-1, ["portal.E016"]), (0, ["portal.W004"]), (1, []), (4, []), (5, ["portal.W005"])]
)
def test_the_number_of_proxies_is_plausible(production: Settings, count: int, expected: list[str]) -> None:
    production.TRUSTED_PROXIES, production.SECURE_SSL_REDIRECT = count, True
    assert ids(check_proxies()) == expected


def test_without_a_redirect_no_proxy_is_missed(production: Settings) -> None:
    production.TRUSTED_PROXIES, production.SECURE_SSL_REDIRECT = 0, False
    assert check_proxies() == []


def test_development_accepts_the_embedded_default(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
    settings.CARD_MASTER_KEYS = a_key("embedded1")
    assert check_production() == []
    refuse_unfit_settings()
    production.ALLOWED_HOSTS = [".example.com"]
    assert check_production() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CARD_MASTER_KEYS", "", "portal.E001"),
        ("CARD_MASTER_KEYS", "only-a-secret", "portal.E002"),
        ("CARD_MASTER_KEYS", "a:not-base64!", "portal.E002"),
        ("CARD_MASTER_KEYS", "a:%%%%", "portal.E002"),
        ("ACCESS_KEYS", a_key(size=16), "portal.E002"),
        ("ACCESS_KEYS", f"{a_key('a')} {a_key('a')}", "portal.E002"),
        ("CARD_INDEX_KEY", f"{a_key('a')} {a_key('b')}", "portal.E002"),
    ],
)
def test_a_malformed_key_is_named_but_not_shown(settings: Settings, name: str, value: str, expected: str) -> None:
    setattr(settings, name, value)
    found = check_keys()
    assert set(ids(found)) == {expected}
    assert all(str(message.msg).startswith(name) for message in found)
    secrets_given = [entry.partition(":")[2] for entry in value.split() if entry.partition(":")[2]]
    assert not any(secret in str(message) for secret in secrets_given for message in found)


def test_a_misspelt_environment_is_refused(settings: Settings) -> None:
    settings.PORTAL_ENV = "prodution"
    assert ids(check_choices()) == ["portal.E003"]


def run_python(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | extra
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=django_settings.BASE_DIR, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def test_check_deploy_is_clean_in_a_real_production_environment(tmp_path: Path) -> None:
    secret = {"secret": base64.b64encode(secrets.token_bytes(32)).decode()}
    sound = {
        "PORTAL_ENV": "production",
        "PORTAL_DATA_DIR": str(tmp_path),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "CARD_MASTER_KEYS": a_key(),
        "CARD_INDEX_KEY": a_key(),
        "ACCESS_KEYS": a_key(),
        "AUDIT_KEYS": a_key(),
        "ALLOWED_HOSTS": "cards.example.com",
        "SITE_URL": "https://cards.example.com",
        "EMAIL_URL": "smtp://mail.example.com:25",
        "TRUSTED_PROXIES": "1",
        "DATABASE_URL": "postgres://portal:secret@127.0.0.1:1/portal",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "PROVISIONERS": json.dumps(
            {"hk": {"BACKEND": WEBHOOK, "OPTIONS": {"url": "https://hk.example.com", **secret}}}
        ),
    }
    check = ("manage.py", "check", "--deploy", "--fail-level=WARNING")
    early = run_python(*check, **sound)
    assert (early.returncode, re.findall(r"portal\.\w+", early.stderr)) == (1, ["portal.E030"])
    assert run_python("manage.py", "collectstatic", "--noinput", **sound).returncode == 0
    done = run_python(*check, **sound)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues" in done.stdout


def test_production_with_nothing_set_is_refused_without_making_keys(tmp_path: Path) -> None:
    done = run_python("manage.py", "check", PORTAL_ENV="production", PORTAL_DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    for expected in ("E001", "E011", "E013", "E014", "E015", "E018", "E019"):
        assert f"portal.{expected}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "gunicorn", "-c", "python:pickup_portal.gunicorn_conf", "--bind", "127.0.0.1:0"],
        ["-m", "celery", "-A", "pickup_portal", "worker"],
        ["-m", "celery", "-A", "pickup_portal", "beat", "--scheduler", "celery.beat:Scheduler", "--pidfile="],
    ],
    ids=["web", "worker", "beat"],
)
def test_no_process_starts_on_unfit_production_settings(tmp_path: Path, command: list[str]) -> None:
    done = run_python(*command, PORTAL_ENV="production", PORTAL_DATA_DIR=str(tmp_path))
    assert done.returncode not in (0, None)
    assert "The portal refuses to start." in done.stdout + done.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost", "cards.example.com", ""])
def test_links_of_production_lead_to_the_portal(production: Settings, url: str) -> None:
    production.SITE_URL = url
    assert ids(check_production()) == ["portal.E018"]


def test_mails_of_production_are_not_written_to_the_log(production: Settings) -> None:
    production.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    assert ids(check_production()) == ["portal.E019"]


def test_somebody_can_sign_in_at_all(settings: Settings) -> None:
    assert check_sign_in() == []
    settings.LOCAL_PASSWORDS = False
    assert ids(check_sign_in()) == ["portal.E005"]
    app = {"client_id": "portal", "secret": ""}
    settings.OIDC_SERVER_URL = "https://id.example.com"
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
    assert ids(check_sign_in()) == ["portal.E004"]
    app["secret"] = "s3cret"
    assert check_sign_in() == []
    settings.OIDC_SERVER_URL = ""
    with pytest.raises(ImproperlyConfigured):
        refuse_unfit_settings()
