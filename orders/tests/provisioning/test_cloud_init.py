from __future__ import annotations

import json

import pytest

from orders.provisioning.cloud_init import sha512_crypt, user_data


@pytest.mark.parametrize(
    ("password", "salt", "hashed"),
    [  # what `openssl passwd -6 -salt SALT` says
        (
            "Xk7-conformance-secret",
            "abcDEF12",
            "$6$abcDEF12$vEEWmFvot7inDyqvynEsMb6lJChMRnuQYN07v8debdpxy7Gbnbq1rllhr/Z4MVca83Ga6vYFVEQgY/MB9zPV/.",
        ),
        (
            "pässwörd",
            "saltstring123456",
            "$6$saltstring123456$AFK7fPW62DD5hCgjdQeFQeH005NHPYcn9UWHk/8N70b5vspaklgd/URbSpF5TSq1xMaqyqvngrt.uquCS1PnD1",
        ),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "./09",
            "$6$./09$epjKyzmnuXCW7jDYjXwDK2jQIbMswoeYXHEs607QaHw9zy2oL8jlfA9qL90u7HzBcigdrjgqWEnkVEmn0fla/.",
        ),
    ],
)
def test_hashes_are_those_of_crypt(password: str, salt: str, hashed: str) -> None:
    assert sha512_crypt(password, salt) == hashed


def test_every_hash_has_a_salt_of_its_own() -> None:
    assert sha512_crypt("same") != sha512_crypt("same")


def test_first_boot_settings_hold_the_key_and_no_readable_password() -> None:
    text = user_data(password="Xk7-secret", ssh_key="ssh-ed25519 AAAA alice", hostname="db1.member.example")
    first, _, rest = text.partition("\n")
    settings = json.loads(rest)
    assert first == "#cloud-config"
    assert (settings["hostname"], settings["fqdn"]) == ("db1", "db1.member.example")
    (user,) = settings["users"]
    assert user["ssh_authorized_keys"] == ["ssh-ed25519 AAAA alice"]
    assert user["hashed_passwd"].startswith("$6$")
    assert "Xk7-secret" not in text
