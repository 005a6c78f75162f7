"""How soon a gateway is back after a crash: its start loads nothing that it doesn't need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import installation

ROOT = Path(__file__).resolve().parents[2]
PROBE = """
import sys
from django.core.management import execute_from_command_line
from sessions.gateway import crew

crew.run_alone = lambda *_: print(sorted({"breakglass.urls", "ninja", "weasyprint"} & sys.modules.keys()))
execute_from_command_line(["manage.py", "run_gateway", "--processes", "1"])
"""


def test_a_gateway_starts_without_the_pages(tmp_path: Path) -> None:
    """To load them took as long as all else."""
    environment = os.environ | installation.settings_in(tmp_path)
    environment["DJANGO_SETTINGS_MODULE"] = "breakglass.settings"
    code = "import os, django; django.setup()\n" + PROBE
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr
