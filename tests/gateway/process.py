"""The gateway of a test as a process of its own, on the test's database: so that it can be killed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(
    database: str, *, port: int = 0, file_limit: int | None = None
) -> tuple[subprocess.Popen[bytes], int]:
    """A running gateway and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.process", database, str(port), str(file_limit or 0)],
        cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the gateway process did not start"
    return process, int(line)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from django.conf import settings

    limit = int(sys.argv[3])
    if limit:  # no file of the process may grow beyond this: as good as a full disk, and needs no root
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    settings.DATABASES["default"]["NAME"] = sys.argv[1]
    import django

    django.setup()
    from sessions.gateway.limits import Limits
    from sessions.gateway.server import Gateway

    gateway = Gateway(
        "127.0.0.1", int(sys.argv[2]), "test-gateway", Limits(rate_per_address=1000, burst_per_address=1000)
    )
    signal.signal(signal.SIGTERM, lambda *_: gateway.stop())
    print(gateway.port, flush=True)
    gateway.run()


if __name__ == "__main__":
    main()
