"""Processes that each call `ensure` once when told to: `python -m orders.tests.provisioning.caller HOW_MANY`.

stdin: one line of JSON (the provisioner's configuration and the request); its end says go. stdout, from each process:
"ready", then the resource's ID, or the kind of error that the portal would act upon.

They are forks of one that has loaded the portal, which is what would take them long.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any
from uuid import UUID

from pickup_portal.lifeline import tied_to_this_process


def main() -> int:
    job = json.loads(sys.stdin.readline())
    os.environ["PROVISIONERS"] = json.dumps({job["provisioner"]: job["config"]})
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pickup_portal.settings")
    import django

    django.setup()
    from orders.provisioning.registry import get_provisioner

    get_provisioner(job["provisioner"])  # its modules are loaded now
    tie, children = tied_to_this_process(), []
    for _ in range(int(sys.argv[1])):
        if (child := os.fork()) == 0:
            tie()
            call(job)
            return 0
        children.append(child)
    return max(os.waitpid(child, 0)[1] for child in children) and 1


def call(job: dict[str, Any]) -> None:
    from orders.provisioning.base import OutcomeUnknown, ProvisionRequest, TransientError
    from orders.provisioning.registry import get_provisioner

    provisioner = get_provisioner(job["provisioner"])
    request = ProvisionRequest(**job["request"] | {"key": UUID(job["request"]["key"])})
    say("ready")
    sys.stdin.read()
    try:
        say(provisioner.ensure(request).external_id)
    except TransientError:
        say("TransientError")
    except OutcomeUnknown:
        say("OutcomeUnknown")


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # at once, for the others write there too


if __name__ == "__main__":
    sys.exit(main())
