"""A recording watched while it grows: nothing twice and nothing left out, whoever comes, goes, comes again or is slow."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from breakglass import clock
from sessions.live import stream, tail
from sessions.live.stream import Wish
from sessions.live.tail import STEP, Tails
from sessions.recording.recorder import Recorder
from tests.recording.scene import HEADER

PATIENCE = 60


@dataclass
class Sent:
    """One event as a browser reads it."""

    name: str
    id: int | None
    data: str

    @property
    def facts(self) -> dict[str, Any]:
        found = json.loads(self.data)
        assert isinstance(found, dict)
        return found


def read(piece: bytes) -> Sent:
    name, number, lines = "message", None, []
    for line in piece.decode("ascii").strip("\n").split("\n"):
        word, _, rest = line.partition(": ")
        if word == "data":
            lines.append(rest)
        elif word == "event":
            name = rest
        elif word == "id":
            number = int(rest)
    return Sent(name, number, "\n".join(lines))


async def may() -> bool:
    return True


async def watch(path: Path, seen: int | None = None, may_go_on: Any = may) -> AsyncIterator[Sent]:
    async with aclosing(stream.events(Wish(path, seen, lambda: None, may_go_on))) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            if piece != stream.RETRY:
                yield read(piece)


def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "open.cast", HEADER, clock=clock)


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, PATIENCE))


async def to_the_end(path: Path, seen: int | None = None, got: bytearray | None = None) -> bytes:
    """All that one watcher gets, until the recording ends."""
    got = bytearray() if got is None else got
    async for sent in watch(path, seen):
        if sent.name == "lines":
            got += f"{sent.data}\n".encode()
            assert sent.id is not None
        elif sent.name == "over":
            return bytes(got)
    raise AssertionError("it stopped before its end")


def test_who_comes_late_gets_all_of_it_and_what_follows(tmp_path: Path) -> None:
    made = recorder(tmp_path)
    made.output(1, b"before\r\n")

    async def late() -> bytes:
        events = watch(made.path)
        first = await anext(events)
        assert (first.name, first.facts["at"], first.facts["skipped"]) == ("start", 0, 0)
        got = bytearray((await anext(events)).data.encode() + b"\n")
        assert b"before" in got
        made.output(1, b"after\r\n")
        async for sent in events:
            if sent.name == "lines":
                got += f"{sent.data}\n".encode()
                if b"after" in got:
                    made.close()
            elif sent.name == "over":
                assert sent.facts == {"how": "closed"}
                break
        return bytes(got)

    assert run(late()) == made.path.read_bytes()


@pytest.mark.parametrize("seed", [1, 2])
def test_under_a_flood_and_with_lost_lines_what_is_got_is_the_recording_byte_for_byte(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watchers lose their line at any moment, and come again with the last id that they saw."""
    monkeypatch.setattr(stream, "BEHIND", 1 << 40)
    monkeypatch.setattr(stream, "RESUMED", 1 << 40)
    made, chance = recorder(tmp_path), random.Random(seed)

    def flood() -> None:
        for number in range(4000):
            made.output(chance.randrange(4), f"{number} \x1b[1mé\x1b[0m \x00".encode() * chance.randrange(40))
            if not number % 50:
                made.resize(80 + number % 7, 24, channel=1)
        made.close()

    async def all_of_them() -> list[bytes]:
        threading.Thread(target=flood, daemon=True).start()
        luck = [random.Random(seed * 100 + one) for one in range(6)]
        return await asyncio.gather(*(unlucky(made.path, rolls) for rolls in luck))

    found = run(all_of_them())
    whole = made.path.read_bytes()
    assert len(whole) > 500_000
    assert all(got == whole for got in found)


async def unlucky(path: Path, rolls: random.Random) -> bytes:
    """All that somebody gets whose line is lost after a few events, again and again."""
    got, seen, is_over = bytearray(), None, False
    while not is_over:
        lasts = rolls.randrange(1, 12)
        events = watch(path, seen)
        while lasts and not is_over:
            sent = await anext(events)
            assert sent.name != "start" or seen is None, "who comes again isn't sent back"
            if sent.name == "lines":
                got += f"{sent.data}\n".encode()
                seen, lasts = sent.id, lasts - 1
            is_over = sent.name == "over"
        await events.aclose()  # type: ignore[attr-defined]
    assert seen == len(got)
    return bytes(got)


def test_who_is_slow_jumps_and_is_told_and_holds_nothing(tmp_path: Path) -> None:
    made = recorder(tmp_path)
    made.output(1, b"begin\r\n")

    async def slow() -> tuple[list[Sent], int]:
        events, got = watch(made.path), []
        got.append(await anext(events))
        got.append(await anext(events))
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.1)
        made.output(1, b"x")
        got.append(await waiting)
        for number in range(60):
            made.output(1, f"line {number} ".encode() * 4000)
        size = made.progress().size
        while got[-1].id is None or got[-1].id < size:
            got.append(await anext(events))
        return got, size

    got, size = run(slow())
    starts = [sent for sent in got if sent.name == "start"]
    assert len(starts) == 2 and starts[1].facts["skipped"] > stream.BEHIND
    after = got[got.index(starts[1]) + 1 :]
    text = "".join(f"{sent.data}\n" for sent in after if sent.name == "lines").encode()
    assert made.path.read_bytes()[starts[1].facts["at"] : size] == text
    assert len(text) <= stream.JUMP + 2 * STEP + 300_000
    made.close()


def test_a_long_recording_begins_near_its_end_with_the_modes_of_its_terminals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "WHOLE", 600_000)
    monkeypatch.setattr(stream, "NEAR", 200_000)
    made = recorder(tmp_path)
    made.resize(132, 43, channel=1)
    made.output(1, b"\x1b[?1049h\x1b[?25l\x1b[2;40r\x1b(0")
    made.output(2, b"\x1b[?2004h\\u001b[?7l \\")
    for number in range(900):
        made.output(1, f"row {number}".encode() * 100)
    made.close()
    whole = made.path.read_bytes()
    assert len(whole) > 600_000

    async def come() -> tuple[dict[str, Any], bytes]:
        first, got = {}, bytearray()
        async for sent in watch(made.path):
            if sent.name == "start":
                first = sent.facts
            elif sent.name == "lines":
                got += f"{sent.data}\n".encode()
        return first, bytes(got)

    first, got = run(come())
    assert first["skipped"] == first["at"] > 0 and first["channel"] == "1"
    assert got == whole[first["at"] :] and 200_000 <= len(got) <= 200_000 + 2 * STEP
    screens = {one["channel"]: one for one in first["streams"]}
    assert screens["1"] == {
        "channel": "1",
        "size": "132x43",
        "modes": "\x1b[?1049h\x1b[?25l\x1b[2;40r\x1b(0",
    }
    assert screens["2"]["modes"] == "\x1b[?2004h", "what is only text sets nothing"


def test_what_a_page_claims_to_have_seen_may_be_anything(tmp_path: Path) -> None:
    made = recorder(tmp_path)
    made.output(1, b"hello\r\n")
    made.close()
    whole = made.path.read_bytes()
    for seen in (1, len(whole) - 1, len(whole) + 5, 10**18, -3):
        assert run(to_the_end(made.path, seen)) == whole
    assert run(to_the_end(made.path, whole.index(b"\n") + 1)) == whole[whole.index(b"\n") + 1 :]


def test_a_recording_that_isnt_here_is_said_to_be_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FILE_PATIENCE", 0.2)

    async def come() -> list[str]:
        return [sent.name async for sent in watch(tmp_path / "nowhere.cast")]

    assert run(come()) == ["away"]


def test_who_may_not_go_on_is_stopped_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "RECHECK", 0.2)
    monkeypatch.setattr(stream, "BEAT", 0.1)
    made = recorder(tmp_path)

    async def may_not() -> bool:
        return False

    async def come() -> None:
        other = asyncio.ensure_future(to_the_end(made.path))
        names = [sent.name async for sent in watch(made.path, may_go_on=may_not)]
        assert names[-1] == "closed" and "beat" in names
        made.close()
        assert await other == made.path.read_bytes()

    run(come())


def test_many_watchers_share_one_open_file_which_goes_with_the_last(tmp_path: Path) -> None:
    made = recorder(tmp_path)

    async def come() -> None:
        tails = Tails.here()
        waiting = [asyncio.ensure_future(to_the_end(made.path)) for _ in range(30)]
        while not tails._open or tails._open[made.path].watchers < 30:
            await asyncio.sleep(0.01)
        assert len(tails._open) == 1
        made.output(1, b"to all\r\n")
        made.close()
        assert set(await asyncio.gather(*waiting)) == {made.path.read_bytes()}
        assert not tails._open

    run(come())
    assert tail.POLL <= 0.05
