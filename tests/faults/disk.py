"""The disk of the recordings is full: a real one, small, that needs root to be mounted. The short form is test_disk_full.py."""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from breakglass.demo import gates
from sessions.recording.transcript import exact_bytes, read_file
from tests.faults.crash import Reader
from tests.faults.table import Condition, Demand, Measured, Towns
from tests.faults.town import Gateway, Town, eventually

ORDER = 46
SIZE = 48 << 20
LEFT = 3 << 20
PATIENCE = 5
AT_ONCE = 3
FROZEN = "frozen because the disk for recordings is full"
GOES_ON = "from room to the next byte"
ENDS = "from the freeze to the end"


@dataclass
class Cellar:
    """A small disk, and a gateway that records there."""

    folder: Path
    town: Town
    gateway: Gateway

    def fill(self) -> Path:
        found = os.statvfs(self.folder)
        ballast = self.folder / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - LEFT)
        return ballast

    def recorded(self, label: str) -> bytes:
        for path in (self.folder / "recordings" / "open").glob("*.cast"):
            with path.open("rb") as file:
                if json.loads(file.readline())["breakglass"]["label"] == label:
                    return b"".join(exact_bytes(read_file(path), 1))
        raise AssertionError(f"{label} has no recording")

    def empty(self, grants: list[str]) -> None:
        """Once those sessions are over their recordings make room: nobody seals and stores them here, for the town's worker
        has another disk, and what a few rounds recorded would fill this one."""

        def over() -> bool:
            rows = self.town.office.ask("ended", ids=grants)
            return all(row["state"] == "ended" for row in rows.values())

        eventually(over, "the sessions are over")
        for path in (self.folder / "recordings" / "open").glob("*.cast"):
            path.unlink()


@contextmanager
def cellar(town: Town, patience: int) -> Iterator[Cellar]:
    folder = Path(tempfile.mkdtemp(prefix="breakglass-cellar-"))
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = os.geteuid() == 0 and not libc.mount(
        b"none", bytes(folder), b"tmpfs", 0, f"size={SIZE}".encode()
    )
    assert mounted, "not measured: only root may mount the small disk"
    extra = {
        "BREAKGLASS_DATA_DIR": str(folder), "BREAKGLASS_DISK_RESERVE_MIB": "8",
        "BREAKGLASS_DISK_FULL_PATIENCE": str(patience),
    }  # fmt: skip
    gateway = town.gateway_apart("cellar", extra=extra)
    try:
        yield Cellar(folder, town, gateway)
    finally:
        town.close(gateway)
        libc.umount2(bytes(folder), 2)
        folder.rmdir()


@contextmanager
def frozen(place: Cellar, folder: Path, number: int) -> Iterator[tuple[list[Reader], Path]]:
    """Some in the middle of much output when the disk is full: told so, and nothing moves any more."""
    town = place.town
    logins = town.office.ask("give", folder=str(town.dir), who=list(range(AT_ONCE)), asset="near")
    readers = [Reader(place.gateway, login, folder, number * 100 + n) for n, login in enumerate(logins)]
    try:
        eventually(lambda: all(reader.size > 10_000 for reader in readers), "output flows")
        ballast = place.fill()
        eventually(lambda: all(FROZEN in reader.said for reader in readers), "everybody is told")
        yield readers, ballast
        ballast.unlink(missing_ok=True)
    finally:
        for reader in readers:
            reader.end()
    for reader in readers:
        shown = reader.shown.read_bytes()
        assert place.recorded(reader.label).startswith(shown), "something was shown that isn't recorded"
    place.empty([login["grant"] for login in logins])
    reserve = place.folder / "recordings" / "reserve"
    eventually(lambda: reserve.stat().st_size == 8 << 20, "the reserve is made again")


def comes_back(towns: Towns, runs: int) -> Measured:
    measured: dict[str, list[float]] = {GOES_ON: []}
    town = towns.of()
    with cellar(town, 300) as place, tempfile.TemporaryDirectory(prefix="breakglass-shown-") as folder:
        for number in range(runs):
            with frozen(place, Path(folder), number) as (readers, ballast):
                still = [reader.size for reader in readers]
                time.sleep(1)
                assert still == [reader.size for reader in readers], "a frozen session went on"
                assert gates.web_answers(town.place.web_port), "the web page is down"
                stranger = Reader(place.gateway, town.office.ask("give", folder=str(town.dir), who=[5], asset="near")[0],
                                  Path(folder), 9000 + number)  # fmt: skip
                eventually(stranger.gone, "a new session is refused")
                assert "[cannot_record]" in stranger.said and "MiB are needed" in stranger.said, stranger.said
                ballast.unlink()
                at = time.monotonic()
                for reader, size in zip(readers, still, strict=True):
                    eventually(lambda: reader.size > size, "output goes on")  # noqa: B023 - asked at once
                measured[GOES_ON].append(time.monotonic() - at)
    return measured


def stays_full(towns: Towns, runs: int) -> Measured:
    measured: dict[str, list[float]] = {ENDS: []}
    town = towns.of()
    with cellar(town, PATIENCE) as place, tempfile.TemporaryDirectory(prefix="breakglass-shown-") as folder:
        for number in range(runs):
            with frozen(place, Path(folder), 50 + number) as (readers, _):
                at = time.monotonic()
                eventually(lambda: all(reader.gone() for reader in readers), "they end")
                measured[ENDS].append(time.monotonic() - at)
                assert all("could no longer be recorded" in reader.said for reader in readers)
                assert gates.web_answers(town.place.web_port), "the web page is down"
    return measured


CONDITIONS = (
    Condition("disk-back", "disk full, room comes back", comes_back, {}, runs=10, few=0),
    Condition(
        "disk-full",
        f"disk full for good, patience of {PATIENCE} s",
        stays_full,
        {ENDS: Demand(most=PATIENCE + 2.0)},
        runs=5,
        few=0,
    ),
)
