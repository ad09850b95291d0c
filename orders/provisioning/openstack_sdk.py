"""The one place where adapters speak to OpenStack's APIs, by openstacksdk: sign-in, time-outs, what failures mean.

Requests go through the SDK's service proxies, but bodies are plain JSON and nothing is repeated: its own resource
classes retry what this portal has to look up first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote

import openstack
import requests
import urllib3
from django.core.exceptions import ImproperlyConfigured
from keystoneauth1 import exceptions as keystone
from keystoneauth1.session import TCPKeepAliveAdapter
from openstack import exceptions as sdk

from .base import OutcomeUnknown, PermanentError, TransientError
from .http import Answer, unpacked

OPTIONS = frozenset({"auth_type", "auth", "region", "endpoint", "ca_file", "timeout"})
LARGEST_ANSWER = 20_000_000  # a page of a thousand servers in full
MOST_PAGES = 500  # Nova and Ironic give up to 1000 entries a page, Glance 25


class Bounded(TCPKeepAliveAdapter):
    """Reads whole answers within the limits of `http.unpacked`, of sign-in and discovery too: requests has none."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        request.headers["Accept-Encoding"] = "identity"
        response: requests.Response = super().send(request, *args, **options | {"stream": True})
        deadline = time.monotonic() + self.timeout
        coding, chunks = response.headers.get("Content-Encoding", ""), response.raw.stream(65_536, decode_content=False)
        try:
            with closing(response):
                response._content = unpacked(chunks, coding, deadline, limit=LARGEST_ANSWER)
                response._content_consumed = True
        except (OutcomeUnknown, urllib3.exceptions.HTTPError, OSError) as error:
            raise requests.exceptions.ConnectionError(error, request=request) from None
        return response


class OpenStackApi:
    """One service of one cloud. OPTIONS: `auth` (a mapping: auth_url, username, password, project_name, ...),
    `auth_type` ("password"), `region`, `endpoint` (instead of the catalogue's), `ca_file`, `timeout` (seconds)."""

    def __init__(self, key: str, options: Mapping[str, Any], *, service: str, microversion: str) -> None:
        if not isinstance(options.get("auth"), dict):
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: auth must be a mapping (auth_url, username, ...).")
        if options.get("auth_type", "password") != "password" and not options.get("endpoint"):
            raise ImproperlyConfigured(f"PROVISIONERS[{key!r}]: without Keystone, endpoint must be given.")
        self.service, self.microversion = service, microversion
        self.options = options
        self.timeout = float(options.get("timeout", 20))
        self.proxies: dict[str, Any] = {}

    def call(self, method: str, path: str, body: Any = None, *, service: str = "", microversion: str = "") -> Answer:
        """One request, once. The answer whatever its status, but 401; a TransientError only where nothing was sent."""
        name = service or self.service
        api = self.proxies[name] = self.proxies.get(name) or self._signed_in(name)
        try:
            answer = api.request(
                path,
                method,
                json=body,
                timeout=self.timeout,
                microversion=microversion or (self.microversion if name == self.service else None),
                raise_exc=False,
                connect_retries=0,
                status_code_retries=0,
                retriable_status_codes=[],
                redirect=False,
                log=False,  # bodies hold first-boot settings and one-time passwords
            )
        except keystone.ClientException as error:
            raise self._trouble(error, name) from None
        if answer.status_code == 401:
            raise PermanentError(f"{name}: the user name or password is not accepted.")
        return Answer(answer.status_code, answer.content)

    def get(self, path: str, *, service: str = "") -> dict[str, Any] | None:
        """What stands there, None if nothing does."""
        answer = self.call("GET", path, service=service)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self.refusal(answer, service=service)
        content = answer.json()
        if not isinstance(content, dict):
            raise OutcomeUnknown(f"{service or self.service}: the answer cannot be read.")
        return content

    def pages(self, path: str, name: str, *, service: str = "", identity: str = "id") -> list[dict[str, Any]]:
        """A whole list, however many answers it takes. Each goes on after the last entry of the one before it; a list
        that comes back to an entry, or has no end, is no list."""
        found: list[dict[str, Any]] = []
        marker, seen = "", {""}
        for _page in range(MOST_PAGES):
            content = self.get(path + marker, service=service) or {}
            entries = content.get(name)
            if not isinstance(entries, list) or not all(isinstance(one, dict) and one.get(identity) for one in entries):
                raise OutcomeUnknown(f"{service or self.service}: the list of {name} cannot be read.")
            found += entries
            if not entries or not (content.get(f"{name}_links") or content.get("next")):
                return found
            marker = f"{'&' if '?' in path else '?'}marker={quote(str(entries[-1][identity]), safe='')}"
            if marker in seen:
                break
            seen.add(marker)
        raise OutcomeUnknown(f"{service or self.service}: the list of {name} does not end.")

    def refusal(self, answer: Answer, *, service: str = "") -> Exception:
        """What a status means. Nothing of the body is told: it may repeat what was sent."""
        name = service or self.service
        if answer.status >= 500 or answer.status == 408:
            return OutcomeUnknown(f"{name} failed (status {answer.status}).")
        if answer.status in (409, 429):
            return TransientError(f"{name} is busy (status {answer.status}).")
        if answer.status == 403:
            return PermanentError(f"{name} does not allow this to our user.")
        if answer.status == 406:
            return PermanentError(f"{name} is older than this adapter needs: microversion {self.microversion}.")
        return PermanentError(f"{name} refused the request (status {answer.status}).")

    def _signed_in(self, service: str) -> Any:
        """The SDK's proxy of the service, after signing in and looking at the service's versions: both make nothing."""
        endpoint = self.options.get("endpoint") if service == self.service else None
        try:
            settings = {"auth_type": self.options.get("auth_type", "password"), "auth": self.options["auth"]}
            cloud = openstack.connect(
                load_yaml_config=False,
                load_envvars=False,
                region_name=self.options.get("region"),
                cacert=self.options.get("ca_file"),
                api_timeout=self.timeout,
                **settings,
                **({f"{service}_endpoint_override": endpoint} if endpoint else {}),
            )
            session = cloud.config.get_session()
            session.session.trust_env = False
            for scheme in ("http://", "https://"):
                session.session.mount(scheme, Bounded(self.timeout))
            session.get_auth_headers()
            return getattr(cloud, service)
        except keystone.Unauthorized:
            raise PermanentError(f"{service}: the user name or password is not accepted.") from None
        except (keystone.ClientException, sdk.SDKException) as error:
            raise TransientError(f"{service}: signing in failed: {type(error).__name__}.") from None

    def _trouble(self, error: keystone.ClientException, service: str) -> Exception:
        if isinstance(error, keystone.Unauthorized):
            return PermanentError(f"{service}: the user name or password is not accepted.")
        if _never_sent(error.__context__):
            return TransientError(f"{service}: could not connect.")
        if isinstance(error, keystone.ConnectTimeout):  # keystoneauth's name for every kind of time-out
            return OutcomeUnknown(f"{service} did not answer within {self.timeout:g} seconds.")
        return OutcomeUnknown(f"{service}: the connection broke: {type(error).__name__}.")


def _never_sent(cause: BaseException | None) -> bool:
    """Whether there was no connection at all: keystoneauth gives a refused one and a broken one the same name."""
    if isinstance(cause, requests.exceptions.ConnectTimeout):
        return True
    if isinstance(cause, requests.exceptions.ConnectionError) and cause.args:
        reason = getattr(cause.args[0], "reason", None)
        return isinstance(reason, urllib3.exceptions.NewConnectionError)
    return False
