"""What the person in a session is told: whole, or that it was cut; and what is said to be held is held."""

from __future__ import annotations

import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from breakglass import clock
from sessions.gateway import recorded
from sessions.gateway.company import MOST_IN_A_LINE, MOST_NAMED, Company, Seen
from sessions.gateway.recorded import Recorded
from sessions.gateway.relay import printable

PATIENCE = 30


def test_a_text_that_is_cut_says_so() -> None:
    assert printable("x" * 300) == "x" * 300
    assert printable("x" * 301) == "x" * 297 + "..."
    assert printable("x" * 1000, 1000) == "x" * 1000
    assert printable("\x1b[31m\u202e") == "?[31m?"


def test_every_watcher_is_told_of_once_a_crowd_in_one_line() -> None:
    said: list[str] = []
    session: Any = SimpleNamespace(tell_soon=said.append)
    company, now = Company(session), clock.now()

    def watch(*names: str) -> list[str]:
        said.clear()
        seen = [Seen(uuid4(), name, False, now - timedelta(seconds=1)) for name in names]
        company.watched_by(seen, clock.monotonic(), now)
        return list(said)

    first = [f"watcher {number:02}" for number in range(MOST_NAMED - 1)]
    assert watch(*first) == [f"Breakglass: {name} watches this session." for name in first]
    late = [f"late {number:02}" for number in range(MOST_IN_A_LINE + 4)]
    one, crowd = watch(*first, *late)
    assert one == "Breakglass: late 00 watches this session."
    assert crowd.startswith("Breakglass: these watch this session, too: late 01, late 02, ")
    assert crowd.endswith(f"late {MOST_IN_A_LINE:02} and 3 more.")
    assert watch(*first, *late) == []
    assert watch(*late, "last") == ["Breakglass: these watch this session, too: last."]


class Waiting(Recorded):
    """A session of which something waits for room on a full disk."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.went_on = threading.Event()
        self.no_room_since = 1.0

    def go_on(self, *, typed: bool) -> None:
        self.went_on.set()


@pytest.mark.parametrize("ends", [False, True])
def test_while_one_stream_waits_for_room_the_unrecorded_ones_wait_too(
    ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "LOOK_EVERY", 0.01)
    session = Waiting()
    reader = threading.Thread(target=session.wait_for_disk, daemon=True)
    reader.start()
    reader.join(0.2)
    assert reader.is_alive() and not session.went_on.is_set()
    if ends:
        session.ended.set()
    else:
        session.no_room_since = None
    reader.join(PATIENCE)
    assert session.went_on.is_set(), "which raises SessionOver at the session's end"
