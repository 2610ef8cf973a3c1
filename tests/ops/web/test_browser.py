"""A real browser looks at hostile jobs: Debian's Chromium, headless, printing the page it made."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.ports import listens

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--virtual-time-budget=4000", "--dump-dom",
)  # fmt: skip
HARMLESS = "&lt;img src=x onerror="

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed"),
    pytest.mark.timeout(180),
]


def seen(address: str, profile: Path) -> str:
    """Open an address in a fresh browser and return the page as its scripts left it."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", address]
    env = {**os.environ, "HOME": str(profile), "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=env)
    assert done.stdout.startswith("<!DOCTYPE"), done.stderr[-500:]
    return done.stdout


@pytest.mark.parametrize(
    ("path", "marks"),
    [
        ("view/job/job-finished", ["Description", "finished"]),
        ("view/job/job-failed", ["Exception Info", "ValueError"]),
        ("view/jobs/evolution/queued/8/asc/1", ["job-queued", "second"]),
        ("view/jobs/evolution/failed/8/asc/1", ["job-failed", "Requeue"]),
        ("view/workers", ["subprocess.call", "job-started"]),
    ],
)
def test_a_hostile_job_is_inert(page: Any, jobs: dict[str, str], tmp_path: Path, path: str, marks: list[str]) -> None:
    """HTML in description, meta, result, arguments and traceback is shown as text, and the pages still do their work."""
    made = seen(f"{page.address}&next=/rq/0/{path}", tmp_path)

    assert "<title>RQ dashboard</title>" in made
    assert HARMLESS in made
    assert not re.search(r"<img\b", made)
    assert [mark for mark in marks if mark not in made] == []
    assert jobs


def test_signing_in_by_the_address_leads_to_the_start_page(page: Any, tmp_path: Path) -> None:
    """The strict cookie is sent right after the exchange: the browser ends on the page, not on a refusal."""
    made = seen(page.address, tmp_path)

    assert "rq-dashboard" in made
    assert "Sign in first" not in made


def test_the_same_job_runs_in_the_dashboard_as_it_comes(valkey: str, jobs: dict[str, str], tmp_path: Path) -> None:
    """The check can fail: on rq-dashboard's own server, the very same job runs its script."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = "import sys, flask, waitress; from rq_dashboard import blueprint, web; a = flask.Flask('upstream'); "
    serve += "a.config['RQ_DASHBOARD_REDIS_URL'] = sys.argv[1]; web.setup_rq_connection(a); a.register_blueprint(blueprint, url_prefix='/rq'); "
    serve += "waitress.serve(a, host='127.0.0.1', port=int(sys.argv[2]))"
    upstream = subprocess.Popen([sys.executable, "-c", serve, valkey, str(port)], stderr=subprocess.DEVNULL)
    try:
        _until_open(port)
        made = seen(f"http://127.0.0.1:{port}/rq/0/view/job/{jobs['finished']}", tmp_path)
    finally:
        upstream.kill()
        upstream.wait()

    assert "<title>owned</title>" in made


def _until_open(port: int) -> None:
    end = time.monotonic() + 15
    while time.monotonic() < end:
        if listens(port):
            return
        time.sleep(0.05)
    pytest.fail("upstream's server did not start")
