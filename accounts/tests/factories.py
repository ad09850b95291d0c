"""Users for tests: UserFactory() is a member, `staff=True` and `superuser=True` are traits, `balance="50"` tops up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import factory
from django.contrib.auth.hashers import make_password
from factory.django import DjangoModelFactory

from accounts.actions import record_entry
from accounts.choices import LedgerKind
from accounts.models import User

PASSWORD = "a-long-test-password"
_HASHED: list[str] = []


def _hashed_password() -> str:
    """PASSWORD hashed once per process: argon2 is slow on purpose."""
    if not _HASHED:
        _HASHED.append(make_password(PASSWORD))
    return _HASHED[0]


class UserFactory(DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    class Params:
        staff = factory.Trait(is_staff=True, username=factory.Sequence(lambda n: f"staff{n}"))
        superuser = factory.Trait(
            is_staff=True, is_superuser=True, username=factory.Sequence(lambda n: f"superuser{n}")
        )

    username = factory.Sequence(lambda n: f"member{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.com")
    password = factory.LazyFunction(_hashed_password)

    @factory.post_generation
    def balance(self: User, create: bool, extracted: Any, **kwargs: Any) -> None:
        if create and extracted:
            record_entry(member=self, kind=LedgerKind.TOP_UP, amount=Decimal(extracted))
