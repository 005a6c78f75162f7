"""What ssh-audit says of the gateway: algorithms, Terrapin, and whether strangers can take more than their share."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings

from sessions.gateway.limits import Limits
from tests.gateway.house import House

OLD_CLIENTS_NEED = {"curve25519-sha256", "curve25519-sha256@libssh.org"}


@pytest.fixture
def house(shared_house: House) -> Iterator[House]:
    """The shared house behind a gateway with its normal limits, which has seen nobody yet."""
    shared_house.stop()
    usual, shared_house.limits = shared_house.limits, Limits()
    shared_house.start()
    yield shared_house
    shared_house.limits = usual


def ssh_audit(house: House, *options: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ssh_audit", "-n", "-p", str(house.port), *options, "127.0.0.1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def notes(report: dict[str, Any], level: str) -> set[str]:
    """The algorithms, of all kinds, that a report complains about at this level."""
    return {
        entry["algorithm"]
        for kind in ("kex", "key", "enc", "mac")
        for entry in report[kind]
        if entry.get("notes", {}).get(level)
    }


def test_it_finds_no_failure_and_warns_only_of_what_older_clients_need(house: House) -> None:
    done = ssh_audit(house, "-j")
    report = json.loads(done.stdout)
    assert notes(report, "fail") == set()
    assert notes(report, "warn") == OLD_CLIENTS_NEED
    assert "kex-strict-s-v00@openssh.com" in {entry["algorithm"] for entry in report["kex"]}
    assert report["cves"] == [] and "vulnerable to the Terrapin" not in done.stdout
    assert "Potentially insufficient connection throttling" not in done.stdout
    assert report["additional_notes"] == [""] or report["additional_notes"] == [], report["additional_notes"]


def test_it_warns_of_nothing_where_only_post_quantum_exchanges_are_offered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        settings, "BREAKGLASS", settings.BREAKGLASS.model_copy(update={"ssh_post_quantum_only": True})
    )
    done = ssh_audit(house)
    assert done.returncode == 0, done.stdout
    assert "[fail]" not in done.stdout and "[warn]" not in done.stdout
    kex = [entry["algorithm"] for entry in json.loads(ssh_audit(house, "-j").stdout)["kex"]]
    assert [name for name in kex if not name.startswith(("ext-info", "kex-strict"))] == [
        "mlkem768x25519-sha256"
    ]


RATES = {
    "--conn-rate-test=10": r"Compl\. conns/sec: \S*?([\d.]+)\D",
    "--dheat=10": r"Successful TCP connections: \S*?([\d.]+)/sec",
}


@pytest.mark.parametrize("test", RATES)
def test_strangers_of_one_address_get_fewer_than_twenty_connections_a_second(house: House, test: str) -> None:
    """Both run until they are interrupted. A person of that very address logs in meanwhile."""
    if not house.rita.person.grants.exists():
        house.grant()
    command = [sys.executable, "-u", "-m", "ssh_audit", "-n", "-p", str(house.port), test, "127.0.0.1"]
    with (house.dir / "said").open("w+") as said:
        attack = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, env={"SHELL": "/bin/sh"}, start_new_session=True
        )
        try:
            time.sleep(5)  # what it measures is a rate
            assert house.run("echo in").stdout == b"in\n"
        finally:
            os.killpg(attack.pid, signal.SIGINT)  # it reports when it is interrupted
            with contextlib.suppress(subprocess.TimeoutExpired):
                attack.wait(15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(attack.pid, signal.SIGKILL)  # its workers don't always leave with it
            attack.wait()
        said.seek(0)
        text = re.sub("\033\\[[0-9;]*[A-Za-z]", "", said.read())
    rates = re.findall(RATES[test], text)
    assert rates and float(rates[-1]) < 20, text
