"""A process of its own that calls `ensure` once when told to: `python -m orders.tests.provisioning.caller`.

stdin: one line of JSON (the provisioner's configuration and the request), then "go". stdout: "ready", then the
resource's ID, or the kind of error that the portal would act upon.
"""

from __future__ import annotations

import json
import os
import sys
from uuid import UUID


def main() -> None:
    job = json.loads(sys.stdin.readline())
    os.environ["PROVISIONERS"] = json.dumps({job["provisioner"]: job["config"]})
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pickup_portal.settings")
    import django

    django.setup()
    from orders.provisioning.base import OutcomeUnknown, ProvisionRequest, TransientError
    from orders.provisioning.registry import get_provisioner

    provisioner = get_provisioner(job["provisioner"])
    request = ProvisionRequest(**job["request"] | {"key": UUID(job["request"]["key"])})
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print(provisioner.ensure(request).external_id, flush=True)
    except TransientError:
        print("TransientError", flush=True)
    except OutcomeUnknown:
        print("OutcomeUnknown", flush=True)


if __name__ == "__main__":
    main()
