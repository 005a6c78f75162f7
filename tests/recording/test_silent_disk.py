"""A disk that hangs under a live recording: it is said to those who watch, and blocks nobody else."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from breakglass import clock
from sessions.live import disk, stream
from sessions.live.disk import Disk, DiskSilent, Line
from sessions.live.stream import Wish
from sessions.live.tail import Tails
from sessions.live.thumbnails import Wall
from sessions.recording.recorder import Recorder
from tests.recording.scene import HEADER

PATIENCE = 30


class Hang:
    """Calls of the system that hang from `begin` to `end`, as on a disk that went away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._goes_on = threading.Event()
        self._goes_on.set()
        self.entered = threading.Event()
        for name in ("pread", "fstat"):
            monkeypatch.setattr(os, name, self._hanging(getattr(os, name)))

    def _hanging(self, call: Any) -> Any:
        def hung(*args: Any) -> Any:
            if not self._goes_on.is_set():
                self.entered.set()
                assert self._goes_on.wait(2 * PATIENCE)
            return call(*args)

        return hung

    def begin(self) -> None:
        self._monkeypatch.setattr(disk, "PATIENCE", 0.5)
        self._goes_on.clear()

    def end(self) -> None:
        self._goes_on.set()
        self._monkeypatch.setattr(disk, "PATIENCE", PATIENCE)


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hang]:
    monkeypatch.setattr(disk, "PATIENCE", PATIENCE)
    made = Hang(monkeypatch)
    yield made
    made.end()


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file whose very opening hangs."""
    monkeypatch.setattr(disk, "PATIENCE", 0.5)
    path = tmp_path / f"{uuid4()}.cast"
    os.mkfifo(path)
    # Also where what is tested here blocks: nobody hangs for ever.
    release = threading.Timer(PATIENCE, lambda: os.close(os.open(path, os.O_RDWR)))
    release.daemon = True
    release.start()
    yield path
    release.cancel()
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


async def may() -> bool:
    return True


def wish(path: Path, seen: int | None = None) -> Wish:
    return Wish(path, seen, lambda: None, may)


async def until(pieces: Any, name: str) -> list[bytes]:
    got = []
    async for piece in pieces:
        got.append(piece)
        if b"event: %b\n" % name.encode() in piece:
            return got
    raise AssertionError(f"no {name}: {got}")


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 2 * PATIENCE))


def test_a_file_that_cant_even_be_opened_blocks_nobody_else(
    pipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "PATIENCE", 5.0)  # the other one has that long
    made = Recorder(tmp_path / "other.cast", HEADER, clock=clock)
    made.output(1, b"of another disk")

    async def both() -> list[bytes]:
        hung = asyncio.ensure_future(until(stream.events(wish(pipe)), "silent"))
        async with aclosing(stream.events(wish(made.path))) as pieces:  # type: ignore[type-var]
            await until(pieces, "lines")
            assert not hung.done(), "the other one is served while this one hangs"
        return await hung

    assert run(both())[-1] == stream.SILENT
    made.close()


def test_the_watcher_is_told_and_gets_the_rest_once_the_disk_answers(tmp_path: Path, hang: Hang) -> None:
    made = Recorder(tmp_path / "open.cast", HEADER, clock=clock)
    made.output(1, b"before")

    async def watch() -> None:
        async with aclosing(stream.events(wish(made.path))) as pieces:  # type: ignore[type-var]
            got = await until(pieces, "lines")
            seen = int(got[-1].split(b"\n")[0].removeprefix(b"id: "))
            hang.begin()
            got = await until(pieces, "silent")
            assert not any(b"event: beat" in piece for piece in got[:-1]), (
                "an escort who sees nothing isn't there"
            )
        for _ in range(3):
            async with aclosing(stream.events(wish(made.path, seen))) as pieces:  # type: ignore[type-var]
                await until(pieces, "silent")
        hung = [one for one in threading.enumerate() if one.name == "disk"]
        assert len(hung) <= disk.MOST_THREADS
        hang.end()
        made.output(1, b"after")
        async with aclosing(stream.events(wish(made.path, seen))) as pieces:  # type: ignore[type-var]
            assert b"after" in (await until(pieces, "lines"))[-1]
        assert not Tails.here()._open

    run(watch())
    made.close()


def test_however_many_ask_a_dead_disk_takes_a_bounded_number_of_threads() -> None:
    goes_on, asked = threading.Event(), Disk(most=3)
    answers = [asked.ask(lambda: goes_on.wait(PATIENCE)) for _ in range(40)]
    assert asked._threads == 3
    goes_on.set()
    assert all(answer.result(PATIENCE) for answer in answers)
    assert asked.ask(lambda: "well").result(PATIENCE) == "well"


def test_who_asks_about_a_hanging_thing_takes_no_further_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "PATIENCE", 0.2)
    own = Disk(most=5)
    monkeypatch.setattr(disk, "disk", own)
    line, goes_on = Line(), threading.Event()
    for _ in range(3):
        with pytest.raises(DiskSilent):
            line.wait(lambda: goes_on.wait(PATIENCE))
    assert own._threads == 1
    goes_on.set()
    monkeypatch.setattr(disk, "PATIENCE", PATIENCE)
    assert line.wait(lambda: 7) == 7


def test_a_wall_shows_what_it_knows_and_says_that_the_disk_is_silent(
    pipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Recorder(tmp_path / "open.cast", HEADER, clock=clock)
    made.output(1, b"seen on the wall")
    made.close()
    wall, known, stuck = Wall(), uuid4(), uuid4()
    monkeypatch.setattr(disk, "PATIENCE", PATIENCE)
    screens, is_silent = wall.look({known: made.path})
    assert screens[known][1] == ["seen on the wall"] and not is_silent
    monkeypatch.setattr(disk, "PATIENCE", 0.5)
    for _ in range(3):
        screens, is_silent = wall.look({known: made.path, stuck: pipe})
        assert screens[known][1] == ["seen on the wall"] and is_silent
        assert stuck not in screens
