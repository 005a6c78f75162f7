"""What the parts of the bench that are programs of their own begin with: a house on a throwaway database."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import tempfile
from pathlib import Path


def perform(module: str, about: str | None) -> None:
    """Build the house, let `table(house, database)` of that module measure and print, and keep what it returns where
    `--json` says."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", type=Path, help="keep the raw numbers here")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from tests.gateway import house as building
    from tests.support import sshd

    with tempfile.TemporaryDirectory(prefix="breakglass-bench-") as folder:
        call_command("migrate", verbosity=0)
        house = building.build(Path(folder))
        try:
            house.grant(minutes=60)
            line = sshd.make_key(Path(folder) / "bench")
            (house.sshd.dir / "authorized_keys").write_text(line + "\n")
            numbers = importlib.import_module(module).table(house, str(connection.settings_dict["NAME"]))
        finally:
            house.sshd.stop()
    if options.json:
        options.json.write_text(json.dumps(numbers))
