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
    database: str,
    *,
    port: int = 0,
    file_limit: int | None = None,
    processes: int = 1,
    redis_url: str = "",
    usual_limits: bool = False,
) -> tuple[subprocess.Popen[bytes], int]:
    """A running gateway and its port. With more `processes` than one the pid is their parent's; with 0 it is one
    process as `run_gateway` starts it, with its guard."""
    numbers = (str(port), str(file_limit or 0), str(processes))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.process", database, *numbers, redis_url,
         "usual" if usual_limits else "wide"],
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
    if sys.argv[5]:
        settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"redis_url": sys.argv[5]})
        settings.CELERY_BROKER_URL = sys.argv[5].replace("unix://", "redis+socket://")
    import django

    django.setup()
    from sessions.gateway.crew import Crew, run_alone
    from sessions.gateway.limits import Limits
    from sessions.gateway.server import Gateway

    port, processes = int(sys.argv[2]), int(sys.argv[4])
    limits = Limits() if sys.argv[6] == "usual" else Limits(rate_per_address=1000, burst_per_address=1000)
    if processes > 1:
        sys.exit(Crew("127.0.0.1", port, limits, processes).run(lambda port: print(port, flush=True)))
    if processes == 0:
        run_alone("127.0.0.1", port, limits, lambda port: print(port, flush=True))
        return
    gateway = Gateway("127.0.0.1", port, "test-gateway", limits)
    signal.signal(signal.SIGTERM, lambda *_: gateway.stop())
    print(gateway.port, flush=True)
    gateway.run()


if __name__ == "__main__":
    main()
