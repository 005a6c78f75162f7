"""docs/evidence.md: each of its commands does what it says, in its order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from django.core.management import call_command

from breakglass.models import AuditCheckpoint
from sessions.evidence import verify
from tests.evidence.house import SIGNER, House

PAGE = Path(__file__).parents[2] / "docs/evidence.md"


def commands() -> list[str]:
    return re.findall(r"^    (.+)$", PAGE.read_text(), re.MULTILINE)


def test_its_commands_are_these(done: House) -> None:
    """Each is run below as it stands; `python manage.py` in this process, on this test's database."""
    (done.folder / "evidence.zip").write_bytes(done.zipped())
    (done.folder / "kept.txt").write_text(AuditCheckpoint.objects.latest("size").note)
    (done.folder / "notary.key").write_text(str(SIGNER.key))
    lines = commands()
    assert len(lines) == 7
    # The key is asked for before it is needed.
    lines.sort(key=lambda line: "--key >" not in line)
    folder = done.folder
    for line in lines:
        if line.startswith("cd "):
            folder = done.folder / line[3:]
        elif line.startswith("python manage.py "):
            folder = done.folder
            managed(line.removeprefix("python manage.py "), folder)
        else:
            run(line, folder)


def managed(line: str, folder: Path) -> None:
    line, _, target = line.partition(" > ")
    words = shlex.split(line)
    here = os.getcwd()
    os.chdir(folder)
    try:
        if target:
            with Path(target).open("w") as out:
                call_command(*words, stdout=out)
        else:
            call_command(*words)
    finally:
        os.chdir(here)


def run(line: str, folder: Path) -> None:
    line = re.sub(r"^python3 ", f"{shlex.quote(sys.executable)} -I -S ", line)
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_its_exit_codes_are_those_of_the_verifier() -> None:
    told = {
        int(code)
        for row in re.findall(r"^\| ([\d, ]+) \|", PAGE.read_text(), re.MULTILINE)
        for code in row.split(",")
    }
    assert told == {0, *verify.GRAVEST_FIRST}
    assert verify.__doc__
    assert {
        int(code) for code in re.findall(r"\b(\d+) (?:a|an|it|the|another|intact)\b", verify.__doc__)
    } >= told
