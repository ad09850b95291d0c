"""What a stranger sends in place of a passkey's answer is refused, never an error page."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.test import Client

from accounts.passkey_forms import AddPasskeyForm, CredentialField, ProofPasskeyForm, SecondFactorPasskeyForm

NOT_READ = {"digits": "7" * 5000, "brackets": "[" * 100_000, "nothing like it": "{", "half a pair": '"\ud800"'}


@pytest.mark.django_db
@pytest.mark.parametrize("credential", NOT_READ.values(), ids=NOT_READ)
def test_a_credential_that_cannot_be_read_is_refused(client: Client, credential: str) -> None:
    typed = urlencode({"credential": credential.encode("utf-8", "surrogatepass")})
    answer = client.post("/accounts/2fa/webauthn/login/", typed, content_type="application/x-www-form-urlencoded")
    assert answer.status_code in (200, 302)
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("form", [AddPasskeyForm, ProofPasskeyForm, SecondFactorPasskeyForm])
def test_every_form_for_passkeys_reads_it_so(form: type) -> None:
    assert isinstance(form.base_fields["credential"], CredentialField)  # type: ignore[attr-defined]
