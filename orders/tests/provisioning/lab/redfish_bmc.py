"""sushy-tools' emulator with its fake driver, over HTTP: PYTHON redfish_bmc.py DIRECTORY PORT MACHINES POWER_SECONDS.

Added to it: a one-time boot override that the next start uses up, as real controllers have it (it knows none); power
changes of at most POWER_SECONDS (its own: 1 to 11 s), so that a suite of starts ends; and POST /lab/reset.
"""

import json
import os
import random
import sys

directory, port, machines, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
with open(os.path.join(directory, "emulator.conf"), "w") as conf:
    systems = [
        {
            "uuid": f"10000000-0000-0000-0000-0000000000{number:02}",
            "name": f"bm{number}",
            "power_state": "Off",
            "external_notifier": False,
            "nics": [{"mac": f"52:54:00:aa:bb:{number:02}", "ip": f"127.0.1.{number}"}],
        }
        for number in range(1, machines + 1)
    ]
    state, passwords = os.path.join(directory, "state"), os.path.join(directory, "htpasswd")
    conf.write(f"SUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_STATE_DIR = {state!r}\n")
    conf.write(f"SUSHY_EMULATOR_AUTH_FILE = {passwords!r}\nSUSHY_EMULATOR_FAKE_SYSTEMS = {systems!r}\n")
os.makedirs(state, exist_ok=True)
os.environ["SUSHY_EMULATOR_CONFIG"] = conf.name
os.environ["TMPDIR"] = directory

from flask import request  # noqa: E402
from sushy_tools.emulator.main import app  # noqa: E402
from sushy_tools.emulator.resources.systems import fakedriver  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

fakedriver.random = random.Random()  # noqa: S311
fakedriver.random.randint = lambda low, high: random.randint(low, min(high, seconds))  # noqa: S311
armed = set()


@app.after_request
def once(response):
    parts = request.path.strip("/").split("/")
    if len(parts) != 4 or parts[2] != "Systems" or response.status_code >= 300:
        return response
    system = parts[3]
    if request.method == "PATCH" and request.json.get("Boot", {}).get("BootSourceOverrideEnabled") == "Once":
        armed.add(system)
    if request.method == "GET":
        shown = json.loads(response.get_data())
        if shown.get("PowerState") == "On":
            armed.discard(system)
        shown["Boot"]["BootSourceOverrideEnabled"] = "Once" if system in armed else "Disabled"
        response.set_data(json.dumps(shown))
    return response


@app.route("/lab/reset", methods=["POST"])
def reset():
    """All machines as they were delivered, at once."""
    armed.clear()
    for uuid in app.systems.systems:
        app.systems._update(uuid, power_state="Off", pending_power=None)
        for device in app.vmedia.devices:
            app.vmedia.eject_image(uuid, device)
    return "", 204


make_server("127.0.0.1", port, app, threaded=True).serve_forever()
