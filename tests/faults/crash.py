"""The gateway is killed in the middle of much output: nothing that was shown is missing, and what is taken away is missed."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sessions.recording.transcript import exact_bytes, read_file
from tests.faults.asset import FLOOD
from tests.faults.gateways import kill, up_again
from tests.faults.table import Condition, Demand, Measured, Towns
from tests.faults.town import Gateway, Town, eventually

ORDER = 45
AT_ONCE = 2
SOME = 200_000
RECOVERED = "from the kill to the recording recovered, whole and playable"
MISSED = "from the kill to verify_recording naming it"


class Reader:
    """Stock ssh, whose output goes into a file: what is in there was shown."""

    def __init__(self, gateway: Gateway, login: Mapping[str, str], folder: Path, number: int) -> None:
        self.shown = folder / f"{number}.shown"
        self._said = folder / f"{number}.said"
        command = [
            "ssh", "-F", "none", "-p", str(gateway.port), "-i", login["key"], "-l", login["user"],
            "-o", f"CertificateFile={login['certificate']}", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
            "127.0.0.1", FLOOD,
        ]  # fmt: skip
        with self.shown.open("wb") as out, self._said.open("wb") as said:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=said)

    @property
    def size(self) -> int:
        return self.shown.stat().st_size

    @property
    def said(self) -> str:
        """The gateway's own words."""
        return self._said.read_text(errors="replace")

    @property
    def label(self) -> str:
        """The product's own name of the session, as the login's greeting has it."""
        found = re.search(r"\bS-\d+\b", self.said)
        assert found, f"no session began: {self.said}"
        return found[0]

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def gone(self) -> bool:
        return self._process.poll() is not None


@contextmanager
def reading(town: Town, grants: list[dict[str, str]], folder: Path, round_: int) -> Iterator[list[Reader]]:
    """Some who read much output, in the middle of it."""
    readers = [
        Reader(town.gateway, login, folder, round_ * 100 + number) for number, login in enumerate(grants)
    ]
    try:
        eventually(lambda: all(reader.size > SOME for reader in readers), "output flows")
        yield readers
    finally:
        for reader in readers:
            reader.end()


def crashed(towns: Towns, runs: int) -> Measured:
    """`runs` kills, every second time of the whole gateway, else of the process that serves."""
    measured: dict[str, list[float]] = {RECOVERED: []}
    town, chance = towns.of(), random.Random(4)
    with tempfile.TemporaryDirectory(prefix="breakglass-tapes-") as folder:
        logins = town.office.ask("give", folder=str(town.dir), who=list(range(AT_ONCE)), asset="near")
        for number in range(runs):
            with reading(town, logins, Path(folder), number) as readers:
                time.sleep(chance.uniform(0, 0.7))
                at = kill(town.gateway, whole=number % 2 == 0)
                eventually(lambda: all(reader.gone() for reader in readers), "everybody is cut off")
                up_again(town.gateway)
                labels = [reader.label for reader in readers]
                measured[RECOVERED].append(until_recovered(town, logins, labels) - at)
                tapes = town.office.ask("tapes", labels=labels, folder=folder)
                for reader in readers:
                    whole(reader, tapes[reader.label])
    return measured


def until_recovered(town: Town, logins: list[dict[str, str]], labels: list[str]) -> float:
    def recovered() -> bool:
        rows = town.office.ask("ended", ids=[login["grant"] for login in logins])
        return all(rows[label]["recording"] != "open" for label in labels)

    eventually(recovered, "the recordings are recovered")
    return time.monotonic()


def whole(reader: Reader, tape: dict[str, Any]) -> None:
    """All that was shown is in it, each line is a whole one, and the player plays it."""
    assert (tape["state"], tape["reason"]) == ("recovered", "crashed"), tape
    assert tape["verdict"] == "intact", tape["what"]
    path = Path(tape["path"])
    shown, recorded = reader.shown.read_bytes(), b"".join(exact_bytes(read_file(path), 1))
    assert recorded.startswith(shown), f"of {len(shown)} bytes that were shown some are not in the recording"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert lines[-1][1:] == ["e", "recovered"]
    played = subprocess.run(
        [Path(sys.executable).with_name("asciinema"), "cat", path], capture_output=True, check=False
    )
    assert played.returncode == 0, played.stderr.decode(errors="replace")
    assert shown.splitlines()[-2] in played.stdout


def deleted(towns: Towns, runs: int) -> Measured:
    """Whoever deletes the recording while the gateway is down is found out."""
    measured: dict[str, list[float]] = {MISSED: []}
    town = towns.of()
    folder_of_open = Path(town.environment["BREAKGLASS_DATA_DIR"]) / "recordings" / "open"
    with tempfile.TemporaryDirectory(prefix="breakglass-tapes-") as folder:
        for number in range(runs):
            logins = town.office.ask("give", folder=str(town.dir), who=[0], asset="near")
            with reading(town, logins, Path(folder), 1000 + number) as readers:
                marks = town.office.ask("trail", tag="recordings:recording:marked")
                eventually(
                    lambda: town.office.ask("trail", tag="recordings:recording:marked") > marks,  # noqa: B023
                    "the trail has a mark of it",
                )
                at = kill(town.gateway, whole=True)
                label = readers[0].label
                tape = town.office.ask("tapes", labels=[label], folder=folder)[label]
                (folder_of_open / f"{tape['session']}.cast").unlink()
                up_again(town.gateway)
                found = town.office.ask("tapes", labels=[label], folder=folder)[label]
                assert found["verdict"] == "damaged" and "audit trail" in found["what"], found
                measured[MISSED].append(time.monotonic() - at)
    return measured


CONDITIONS = (
    Condition(
        "crash",
        "gateway killed (SIGKILL) in the middle of much output",
        crashed,
        {RECOVERED: Demand(most=10.0)},
        runs=50,
        few=2,
    ),
    Condition("deleted", "and its recording deleted before the restart", deleted, {}, runs=5, few=1),
)
