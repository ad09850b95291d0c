"""Signing in where nobody has a password here: accounts and permissions stay, passwords are not looked at."""

from __future__ import annotations

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend


class NoPasswords(AuthenticationBackend):  # type: ignore[misc]
    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None
