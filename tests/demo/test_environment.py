"""No process of the demo, and no shell on its machines, carries a key in its environment; an installation need not either."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from breakglass import config
from breakglass.demo.place import ROOT, Place

MASTER = base64.b64encode(bytes(32)).decode()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, 8000, 2222, assets_by_sshd=False)


def test_the_environment_of_the_demo_names_files_and_holds_no_key(place: Place) -> None:
    environment = place.environment()
    for name in ("master_key", "secret_key"):
        file = Path(environment[f"BREAKGLASS_{name.upper()}_FILE"])
        assert file.stat().st_mode & 0o777 == 0o600
        assert not any(file.read_text() in value for value in environment.values())
    assert Place(place.dir, 8000, 2222, assets_by_sshd=False).environment() == environment


def test_a_demo_of_an_earlier_kind_keeps_its_keys(place: Place) -> None:
    old = {"secret_key": "s" * 40, "master_key": MASTER}
    (place.dir / "secrets.json").write_text(json.dumps(old))
    read = config.load(place.settings())
    assert (read.secret_key, read.master_key) == ("s" * 40, bytes(32))
    assert not (place.dir / "secrets.json").exists()


def test_django_starts_with_keys_from_files(place: Place) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BREAKGLASS_")}
    look = (
        "import django; django.setup(); from breakglass.services import vault; print(len(vault.derive('x')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, env=plain | place.settings(), capture_output=True, check=False
    )
    assert done.stdout == b"32\n", done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"BREAKGLASS_MASTER_KEY_FILE": "/nonexistent/key"}, "/nonexistent/key can't be read"),
        ({"BREAKGLASS_MASTER_KEY_FILE": "/dev/null", "BREAKGLASS_MASTER_KEY": MASTER}, "both set"),
        ({"BREAKGLASS_MASTER_KEY_FILE": "/dev/null"}, "BREAKGLASS_MASTER_KEY: must be 32 bytes"),
        ({"BREAKGLASS_TIME_ZONE_FILE": "/dev/null"}, "BREAKGLASS_TIME_ZONE_FILE is not a setting"),
    ],
)
def test_a_wrong_file_stops_the_start_and_says_why(given: dict[str, str], said: str) -> None:
    with pytest.raises(config.ConfigError, match=said):
        config.load({"BREAKGLASS_SECRET_KEY": "s" * 40} | given)
