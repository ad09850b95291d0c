"""The one place where adapters speak SSH: one forced command, one JSON request, one JSON answer."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from .base import OutcomeUnknown, PermanentError, TransientError, scrub

CONNECT_TIMEOUT = 10.0
asyncssh.set_log_level(logging.WARNING)  # a dozen lines for each request otherwise


@dataclass(frozen=True)
class SshAgent:
    """The far program's only login. The host key is pinned, and nothing of the user's own SSH settings is read."""

    host: str
    port: int
    user: str
    host_key: asyncssh.SSHKey
    key_file: Path
    timeout: float

    def ask(self, request: dict[str, Any], *secrets: str) -> dict[str, Any]:
        """The answer's JSON. Not having reached the program is a `TransientError`, or a `PermanentError` where keys are
        wrong; whatever fails after the request was sent is an `OutcomeUnknown`."""
        return asyncio.run(self._ask(json.dumps(request), secrets))

    async def _ask(self, request: str, secrets: tuple[str, ...]) -> dict[str, Any]:
        try:
            connection = await asyncio.wait_for(self._connect(), min(CONNECT_TIMEOUT, self.timeout))
        except asyncssh.HostKeyNotVerifiable:
            raise PermanentError(f"{self.host} shows another host key than the pinned one.") from None
        except asyncssh.PermissionDenied:
            raise PermanentError(f"{self.host} does not accept the portal's key.") from None
        except (OSError, asyncssh.Error, TimeoutError) as error:
            raise TransientError(f"Could not connect to {self.host}: {type(error).__name__}.") from None
        try:
            done = await asyncio.wait_for(connection.run("agent", input=request), self.timeout)
        except TimeoutError:
            raise OutcomeUnknown(f"{self.host} did not answer within {self.timeout:g} seconds.") from None
        except (OSError, asyncssh.Error) as error:
            raise OutcomeUnknown(f"The connection to {self.host} broke: {type(error).__name__}.") from None
        finally:
            connection.abort()
        try:
            answer = json.loads(str(done.stdout))
            return dict(answer)
        except (ValueError, TypeError):
            text = scrub(str(done.stderr).strip()[-200:], *secrets)
            raise OutcomeUnknown(f"The program at {self.host} gave no answer: {text or 'nothing'}") from None

    async def _connect(self) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            self.host,
            self.port,
            username=self.user,
            client_keys=[str(self.key_file)],
            known_hosts=([self.host_key], [], []),
            config=None,
            agent_path=None,
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            connect_timeout=min(CONNECT_TIMEOUT, self.timeout),
            login_timeout=min(CONNECT_TIMEOUT, self.timeout),
            keepalive_interval=5,
        )


def pinned(line: str) -> asyncssh.SSHKey:
    """The public key of a line of known_hosts or of a .pub file. ValueError if it is none."""
    try:
        return asyncssh.import_public_key(line.strip())
    except asyncssh.KeyImportError:
        raise ValueError("not a public key") from None
