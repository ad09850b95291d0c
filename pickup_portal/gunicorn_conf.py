"""Gunicorn's settings: `gunicorn -c python:pickup_portal.gunicorn_conf`."""

from __future__ import annotations

import os

from accounts.wakeup import publish_in_background

from .lifeline import die_with_parent

wsgi_app = "pickup_portal.wsgi:application"
bind = "127.0.0.1:8000"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# Threads, so that a browser's idle keep-alive connection does not hold a whole worker.
worker_class = "gthread"
threads = 4
preload_app = True  # imports once; nothing is connected at import
timeout = 60
graceful_timeout = 5
loglevel = "warning"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108  (heartbeat file, no data)
control_socket_disable = True


def post_fork(server: object, worker: object) -> None:
    die_with_parent()
    publish_in_background()
