"""serve.py MODULE PORT: one of OpenStack's APIs, run by the Python of OpenStack's own venv."""

import importlib
import sys

from waitress import serve

module, port = sys.argv[1], int(sys.argv[2])
sys.argv = [module]  # the services read their own command line
serve(importlib.import_module(module).application, host="127.0.0.1", port=port, threads=8)
