"""The vault: what is sealed opens only in its own place, and a missing key says so."""

from __future__ import annotations

import base64
from uuid import uuid4

import pytest
from pytest_django.fixtures import Settings

from cards import vault


def key(name: str, fill: int) -> str:
    return f"{name}:{base64.urlsafe_b64encode(bytes([fill]) * 32).decode()}"


def test_a_code_opens_only_under_its_own_batch_and_serial() -> None:
    token = uuid4()
    key_id, wrapped = vault.new_data_key(token)
    safe = vault.BatchVault(key_id, wrapped, token)
    sealed = safe.seal(7, "A" * 25)
    assert safe.open(7, sealed) == "A" * 25
    assert b"AAAA" not in sealed
    with pytest.raises(vault.KeyUnavailable):
        safe.open(8, sealed)
    with pytest.raises(vault.KeyUnavailable):
        vault.BatchVault(key_id, wrapped, uuid4())


def test_an_older_master_key_still_opens_and_a_missing_one_is_named(settings: Settings) -> None:
    token = uuid4()
    settings.CARD_MASTER_KEYS = key("old", 1)
    key_id, wrapped = vault.new_data_key(token)
    settings.CARD_MASTER_KEYS = f"{key('new', 2)} {key('old', 1)}"
    assert vault.new_data_key(token)[0] == "new"
    assert vault.unwrap(key_id, wrapped, token)
    settings.CARD_MASTER_KEYS = key("new", 2)
    with pytest.raises(vault.KeyUnavailable, match="old"):
        vault.unwrap(key_id, wrapped, token)


def test_a_malformed_key_setting_is_named_without_its_value(settings: Settings) -> None:
    settings.CARD_INDEX_KEY = "main:c2VjcmV0"
    with pytest.raises(vault.BadKeySetting, match="CARD_INDEX_KEY") as caught:
        vault.lookup("A" * 25)
    assert "c2VjcmV0" not in str(caught.value)


def test_access_details_open_only_for_their_order() -> None:
    order_key = uuid4()
    sealed = vault.seal_access({"password": "swordfish"}, order_key=order_key)
    assert b"swordfish" not in sealed
    assert vault.open_access(sealed, order_key=order_key) == {"password": "swordfish"}
    with pytest.raises(vault.KeyUnavailable):
        vault.open_access(sealed, order_key=uuid4())


def test_many_lookups_equal_single_ones() -> None:
    assert vault.lookups(["A" * 25, "B" * 25]) == [vault.lookup("A" * 25), vault.lookup("B" * 25)]


def test_the_first_password_is_the_same_for_every_attempt_of_an_order() -> None:
    first, second = uuid4(), uuid4()
    assert vault.initial_password(first) == vault.initial_password(first) != vault.initial_password(second)


@pytest.mark.parametrize("none", ["", " "])
def test_a_process_without_access_keys_misses_one_whatever_it_needs_it_for(settings: Settings, none: str) -> None:
    sealed = vault.seal_access({"password": "swordfish"}, order_key=uuid4())
    settings.ACCESS_KEYS = none
    for use in (
        lambda: vault.initial_password(uuid4()),
        lambda: vault.seal_access({}, order_key=uuid4()),
        lambda: vault.open_access(sealed, order_key=uuid4()),
        lambda: vault.access_digests(b"body"),
    ):
        with pytest.raises(vault.KeyUnavailable, match="ACCESS_KEYS"):
            use()
