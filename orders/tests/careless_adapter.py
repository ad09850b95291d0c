"""The adapter of the chaos runs' negative control; apart from their provider, a process without Django."""

from __future__ import annotations

from orders.provisioning.base import Outcome, ProvisionRequest
from orders.provisioning.webhook import WebhookProvisioner


class CarelessProvisioner(WebhookProvisioner):
    """Negative control: it creates without looking first."""

    def ensure(self, request: ProvisionRequest) -> Outcome:
        data = {**vars(request), "key": str(request.key)}
        self._judge(self._post("service.open", data, message_id=str(request.key)))
        return super().ensure(request)
