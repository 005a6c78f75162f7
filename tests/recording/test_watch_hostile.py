"""What a hostile machine or person puts into a recording holds up no watcher, and costs the web process bounded memory."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from pathlib import Path

from sessions.live import screens, stream
from sessions.live.screens import Screens
from sessions.live.tail import KEPT_PIECES, PIECE, PLACES, Tail, Tails
from sessions.recording.recorder import WORST, Recorder
from tests.recording.test_watch_stream import Sent, read, recorder, run, to_the_end

MOST_EVENT = WORST * PIECE + PIECE


def test_a_line_that_isnt_whole_yet_holds_up_nobody(tmp_path: Path) -> None:
    """A reader may see half of what is being written just now; after a power cut it stays like that."""
    path, steps = tmp_path / "torn.cast", 0
    whole, torn = b'{"version":2}\n[0.1,"o","whole"]\n', b'[0.2,"o","to'
    path.write_bytes(whole + torn)

    def step() -> None:
        nonlocal steps
        steps += 1
        assert steps < 1000, "asked again and again, and nothing else in this process comes to its turn"

    async def may() -> bool:
        return True

    async def come() -> bytes:
        got = bytearray()
        wish = stream.Wish(path, None, step, may)
        async with aclosing(stream.events(wish)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                sent = read(piece)
                got += f"{sent.data}\n".encode() if sent.name == "lines" else b""
                if sent.name == "beat" and bytes(got) == whole:
                    with path.open("ab") as file:
                        file.write(b'rn"]\n[0.3,"e","closed"]\n')
                if sent.name == "over":
                    break
        return bytes(got)

    assert run(come()) == path.read_bytes()


def test_a_flood_of_sizes_strings_without_end_and_modes_is_sent_in_small_pieces_and_little_is_kept(
    tmp_path: Path,
) -> None:
    made = recorder(tmp_path)

    async def come() -> tuple[list[Sent], int]:
        got: list[Sent] = []
        keeper = asyncio.ensure_future(to_the_end(made.path))  # another one, who holds the file open too
        pieces = stream.events(stream.Wish(made.path, None, lambda: None, may))
        async with aclosing(pieces) as events:  # type: ignore[type-var]
            for number in range(6):
                for _ in range(4):
                    got.append(read(await anext(events)))
                await asyncio.to_thread(_flood, made, number)
            tail = Tails.here()._open[made.path]
            while got[-1].name != "over":
                got.append(read(await anext(events)))
                _is_small(tail)
                if made.progress().size == got[-1].id:
                    made.close()
        keeper.cancel()
        return got, made.progress().size

    async def may() -> bool:
        return True

    got, size = asyncio.run(asyncio.wait_for(come(), 240))
    assert max(len(sent.data) for sent in got) < MOST_EVENT < size / 10
    assert [sent.name for sent in got].count("start") > 1, (
        "what can't be followed is left out, and it is said"
    )


def _flood(made: Recorder, number: int) -> None:
    for one in range(2000):
        made.resize(2 + one % 900, 1 + one % 400, channel=one % 300)
    made.output(1, b"\x1b]0;" + b"x" * 10_000_000)
    made.output(1, b"\x1b[" + b"1;" * 500_000 + b"m")
    made.output(2, b"".join(b"\x1b[?%dh" % one for one in range(10_000)))
    made.output(3, os.urandom(300_000))


def _is_small(tail: Tail) -> None:
    assert len(tail._pieces) <= KEPT_PIECES and len(tail._fresh) <= KEPT_PIECES
    assert max(map(len, tail._pieces.values()), default=0) < MOST_EVENT
    assert len(tail._places) <= PLACES
    for place in list(tail._places):
        assert len(place.by_channel) <= screens.MOST_CHANNELS < 20


def test_many_channels_with_many_modes_make_no_large_place() -> None:
    place = Screens()
    for number in range(300):
        place.read(b'[1.0,"c","%d"]\n[1.0,"r","80x24"]\n' % number)
        place.read(b'[1.0,"o","%b"]\n' % b"".join(b"\\u001b[?%dh" % one for one in range(2000)))
    assert list(place.by_channel) == [str(number) for number in range(300 - screens.MOST_CHANNELS, 300)]
    assert len(stream._start(place, skipped=0)) < 64 * 1024
