"""Run the whole portal on this machine."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from pickup_portal import embedded, supervisor


class Command(BaseCommand):
    help = (
        "Run the web server, the worker, the scheduler and, unless CELERY_BROKER_URL is set, an embedded broker, "
        "until Ctrl-C."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
        parser.add_argument("--web-workers", type=int, default=2, help="web processes (default: %(default)s)")
        parser.add_argument("--no-migrate", action="store_true", help="leave the database's tables as they are")
        parser.add_argument("--demo", action="store_true", help="fill a fresh data directory with demo data first")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._serve(**options)
        except supervisor.CannotServe as error:
            raise CommandError(str(error)) from None

    def _serve(self, *, host: str, port: int, web_workers: int, no_migrate: bool, demo: bool, **_: Any) -> None:
        data_dir: Path = settings.DATA_DIR
        lock = supervisor.lock(data_dir)
        listener = supervisor.bind(host, port)
        portal = supervisor.Supervisor(self._say)
        portal.listen_for_signals()
        try:
            broker_socket = embedded.broker_socket(data_dir)
            if settings.CELERY_BROKER_URL.startswith(f"redis+socket://{broker_socket}?"):
                portal.add(supervisor.broker_child(data_dir, broker_socket))
                supervisor.wait_for_socket(broker_socket)
            if not no_migrate:
                call_command("migrate", verbosity=0, skip_checks=True)
                call_command("createcachetable", verbosity=0)
            if demo:
                self.prepare_demo()
            connections.close_all()
            Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
            if not portal.stopping:
                portal.add(supervisor.web_child(listener, web_workers))
                portal.add(supervisor.worker_child())
                portal.add(supervisor.beat_child(data_dir))
            portal.watch_until_stopped((host, port), lambda: self._welcome(host, port))
            self._say("Stopping ...")
        finally:
            portal.stop()
            listener.close()
            lock.close()

    def prepare_demo(self) -> None:
        """Make the demo, or note anew which of its codes nobody has used; what it prints comes with the welcome."""
        if not (settings.DATA_DIR / "demo.json").exists():
            self._say("Making the demo data ...")
        call_command("seed_demo", stdout=StringIO())

    def _welcome(self, host: str, port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        self._say(f"\nThe portal is ready at http://{shown}:{port}/  (Ctrl-C stops it)")
        demo_file = settings.DATA_DIR / "demo.json"
        if settings.PRODUCTION or not demo_file.exists():
            return
        demo = json.loads(demo_file.read_text())
        for role, path in (("staff", "/staff/"), ("member", "/")):
            if who := demo.get(role):
                self._say(f"  {role:<7} {path:<8} {who['login']}  password  {who['password']}")
        for card in demo.get("codes", []):
            self._say(f"  code    {card['code']}  {card['name']}")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
