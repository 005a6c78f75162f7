"""The README is true: each command in it is one that works here."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from breakglass.demo.cast import PEOPLE
from breakglass.demo.place import ROOT
from playbooks.loader import load_catalog
from tests.support.stack import Stack, place_of

README = (ROOT / "README.md").read_text()
MAKE = sorted(set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(re.findall(r"(?m)^    .*$|`[^`]+`", README)))))
MANAGE = sorted(set(re.findall(r"manage\.py ([a-z_]+(?: [a-z0-9_-]+)*)", README)))


@pytest.mark.parametrize("target", MAKE)
def test_make_knows_the_target(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["test", "bench", "demo", "faults", "lock"])
def test_what_a_target_runs_is_there(target: str) -> None:
    recipe = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for script in re.findall(r"\.ci/[a-z]+", recipe):
        assert (ROOT / script).exists(), script
    for module in re.findall(r"-m ([a-z.]+)", recipe):
        assert (ROOT / module.replace(".", "/") / "__main__.py").exists(), module


@pytest.mark.parametrize("command", MANAGE)
def test_manage_commands_work_on_the_demo(command: str, stack: Stack) -> None:
    place = place_of(stack)
    done = subprocess.run(
        [sys.executable, "manage.py", *command.split()],
        cwd=ROOT,
        env=place.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_people_and_playbooks_that_it_names_are_in_the_demo() -> None:
    names = {player.username for player in PEOPLE}
    assert {"rita", "ada", "vera", "otto"} <= names & set(re.findall(r"`([a-z]+)`", README))
    titles = {loaded.spec.title for loaded in load_catalog()}
    assert set(re.findall(r"pick \*\*([^*]+)\*\*", README)) <= titles
