"""A replay of journals as a process of its own: one that can be killed, or raced with others."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.gateway.process import ROOT


def start(database: str, gateway_id: str) -> subprocess.Popen[bytes]:
    """It says `ready`, waits for a line, replays and says how many entries it has read."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.replaying", database, gateway_id],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = sys.argv[1]
    import django

    django.setup()
    from sessions.gateway.replay import replay

    print("ready", flush=True)
    sys.stdin.readline()
    print(replay(lambda name: name == sys.argv[2]), flush=True)


if __name__ == "__main__":
    main()
