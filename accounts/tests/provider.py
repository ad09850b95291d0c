"""An OpenID provider of its own process for tests: it signs what it says, and asks its users nothing but their name."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from django.test import Client

from pickup_portal.lifeline import die_with_parent


class Company:
    """The hosting company's system. `knows` makes a person there; `sign_in` goes the whole way with a test client."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(verify=False)  # noqa: S501 (plain HTTP; reading the certificates costs more than all else)

    def answers(self) -> bool:
        try:
            return self.http.get(f"{self.url}/.well-known/openid-configuration").is_success
        except httpx.HTTPError:
            return False

    def knows(self, subject: str, **claims: Any) -> None:
        self.http.put(f"{self.url}/users/{quote(subject)}", json=claims).raise_for_status()

    def authorize(self, location: str, subject: str) -> str:
        """What the person's browser does there; returns the path that it is sent back to."""
        assert location.startswith(f"{self.url}/oauth2/authorize?")
        answer = self.http.post(location, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        back = urlsplit(answer.headers["location"])
        return f"{back.path}?{back.query}"

    def sign_in(self, client: Client, subject: str, **query: str) -> Any:
        start = client.post("/accounts/oidc/company/login/", query_params=query)
        assert start.status_code == 302, start.content
        return client.get(self.authorize(start["Location"], subject))

    def settings(self) -> dict[str, Any]:
        app = {
            "provider_id": "company",
            "name": "Example Hosting",
            "client_id": "portal",
            "secret": "a-client-secret",
            "settings": {"server_url": self.url, "verified_email": False},
        }
        return {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}


@pytest.fixture(scope="module")
def company_process() -> Iterator[Company]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    company, deadline = Company(f"http://127.0.0.1:{port}"), time.monotonic() + 120
    try:
        while not company.answers():
            assert process.poll() is None, "the provider ended"
            assert time.monotonic() < deadline, "the provider did not start"
            time.sleep(0.05)
        yield company
    finally:
        company.http.close()
        process.kill()
        process.wait()


@pytest.fixture
def company(company_process: Company, settings: Any) -> Company:
    """The provider, set up in this portal's settings."""
    settings.OIDC_SERVER_URL = company_process.url
    settings.OIDC_NAME = "Example Hosting"
    settings.SOCIALACCOUNT_PROVIDERS = company_process.settings()
    return company_process
