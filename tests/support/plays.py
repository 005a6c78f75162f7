"""`python -m tests.support.plays NAME ...`: sessions with recordings to replay, over but for "watched", in the installation
that the environment names. Prints their ids and a login cookie for each person, as one line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessions.models import SSHSession
    from sessions.recording.recorder import Recorder
    from tests.web.stage import Tick

PROMPT = "\x1b[1;32moperator@hist-01\x1b[0m:~$ "
PEOPLE = ("rita", "rob", "ada", "vera", "otto")
MANY_EVENTS = 400_000
DAY = 24 * 3600.0
LENGTHS = {"big": 5400.0, "day": DAY, "shift": DAY}


def tour(recorder: Recorder, tick: Tick) -> None:
    """Two minutes: a shell with commands, a long pause, a full-screen program, a resize, a freeze, a file, an exec beside."""

    def at(seconds: float, text: str = "", channel: int = 1) -> None:
        tick.at = seconds
        recorder.output(channel, text.encode()) if text else None

    at(0)
    recorder.marker("channel 1: shell")
    recorder.resize(90, 24, channel=1)
    at(1, PROMPT)
    at(4, "df -h\r\n/dev/sda1  20G  19G  312M  99% /var/historian\r\n" + PROMPT)
    at(9, "ls spool | wc -l\r\n18342\r\n" + PROMPT)
    recorder.marker("frozen by Ada Adler: let me look")
    at(14, "")
    recorder.marker("unfrozen")
    at(
        70,
        "vi notes.txt\r\n\x1b[?1049h\x1b[2J\x1b[H# Historian\r\nrestart after the spool is empty\r\n~\r\n~",
    )
    at(80, "\x1b[?1049l" + PROMPT)
    recorder.resize(100, 30, channel=1)
    at(85)
    recorder.marker("file: begins write /srv/historian/patch.tar (9.1)")
    at(90)
    recorder.marker("10 minutes left")
    recorder.marker("channel 3: exec: uptime")
    at(92, " 02:41:07 up 91 days,  load average: 0.02\r\n", channel=3)
    at(100, "systemctl restart historian\r\n" + PROMPT)
    at(110, "\x1b[3mall is well: historian is running\x1b[0m\r\n" + PROMPT)
    at(120, "exit\r\nlogout\r\n")
    recorder.marker("session ended: client_closed")


def hostile(recorder: Recorder, tick: Tick) -> None:
    """What a machine may send to hurt whoever looks at it later."""
    bad = (
        b"\x1b]0;owned\x07", b"\x1b]52;c;cm0gLXJmIC8=\x07", b"\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07",
        b"</script><script>window.hurt=1</script><img src=x onerror=window.hurt=1>", b"\x1b[6n\x1b[c\x1b]10;?\x07",
        b"\xff\xfe\xc3\x28 \xed\xa0\x80", b"\x1b[999999999;999999999H\x1b[999999999b", b"\x1bP" + b"q" * 70_000,
        b"\x18\x1b]0;" + b"t" * 10_000_000 + b"\x07", b"\x1b[8;99999;99999t\x1b[?5h\x1b[?5l", b"\x00" * 500,
        "\u202eabc\u2066\ufeff".encode(), b"\x1b[" + b";".join([b"1"] * 5000) + b"m", b"\x1bc",
    )  # fmt: skip
    for second, piece in enumerate(bad):
        tick.at = float(second)
        recorder.marker("</script><b>" + piece[:200].decode(errors="replace"))
        for start in range(0, len(piece), 60_000):
            recorder.output(1, piece[start : start + 60_000])
    recorder.resize(1_000_000, 1_000_000)
    recorder.resize(80, 24)
    tick.at = 20.0
    recorder.output(1, b"\x1b[0m\x1b[2J\x1b[Hstill standing\r\n")
    tick.at = 21.0


def corpus(most: int) -> Callable[[Recorder, Tick], None]:
    """All of `tests.recording.hostile_corpus`, a second each, of the longest the last `most` bytes; then a screen that tells
    that the terminal still works."""

    def play(recorder: Recorder, tick: Tick) -> None:
        from tests.recording.hostile_corpus import HOSTILE

        extra = (
            b"\x07" * 50_000,
            b"\x1b_apc;rm -rf /\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\",
            b"\x1b]0;" + b"t" * 4_000_000,
        )
        for second, data in enumerate([*(one.data for one in HOSTILE), *extra]):
            tick.at = float(second)
            recorder.output(1, b"\x18\x1bc")
            for start in range(max(0, len(data) - most), len(data), 60_000):
                recorder.output(1, data[start : start + 60_000])
        tick.at += 1
        recorder.output(
            1,
            b"\x18\x1bc\x1b]8;;https://example.com/\x07click me\x1b]8;;\x07 https://example.com/b\r\nstill standing\r\n",
        )
        tick.at += 1

    return play


def mixed(recorder: Recorder, tick: Tick) -> None:
    """All that a key frame and a leap must not lose: modes, margins, the other screen, the pen, what scrolled above, sizes,
    wide letters, sequences that stay open. Thousands of lines of each, so that there are chunks of nothing else."""

    def put(text: str, channel: int = 1) -> None:
        tick.at += 0.001
        recorder.output(channel, text.encode())

    def lines(megabytes: float, line: str) -> None:
        for number in range(int(megabytes * 2**20 / (len(line) * 8 + 45))):
            put("".join(line.replace("#", f"{number:06d}{part}") + "\r\n" for part in range(8)))

    coloured = "\x1b[32m#\x1b[0m the \x1b[1;44mspool\x1b[m is behind" + " ." * 25
    recorder.marker("channel 1: shell")
    recorder.resize(90, 24, channel=1)
    put("\x1b]0;operator@hist-01\x07" + PROMPT + "tail -f log\r\n")
    lines(3.5, coloured)
    put("\x1b[?1049h\x1b[2J\x1b[3;20r\x1b[?6h\x1b[H\x1b[41mtop\x1b[0m\x1bD\x1b7")
    lines(0.4, "\x1b[5;9H\x1b[L# \x1b[7m\u6771\u4eac\x1b[27m\x1bM\x1b[2P" + "=" * 40)
    put("\x1b[r\x1b[?6l\x1b[?1049l" + PROMPT)
    recorder.resize(100, 30, channel=1)
    put("\x1b[4h\x1b[3;35m")
    lines(3.5, "#\t\u6771\u4eac and a plain text without any colour at all" + "-" * 60)
    put("\x1b[4l\x1b[0m\x1b[5;11rstays\r\n")
    lines(2.3, coloured)
    put("\x1b[r\x1b[30;1H\x1b]0;never ended ")
    lines(1.2, "# all of it is a title" + "~" * 60)
    put("\x07\x1b(0lqqk\r\n")
    lines(2.5, coloured)
    put("\x1b(B\x1b[?7l")
    lines(2.5, coloured + "!" * 60)
    recorder.resize(90, 52, channel=1)
    put("\x1b[?7h the very end\r\n")
    put("beside it\r\n", channel=3)


def long_lines(seconds: float, size: int, events: int) -> Callable[[Recorder, Tick], None]:
    """Log lines without end: so many events that the recording has about that size."""

    def play(recorder: Recorder, tick: Tick) -> None:
        text = "collector 7 \x1b[33mwarn\x1b[0m spool is behind, %08d of 18342 files, retry in 5 s "
        pad = "." * max(0, size // events - len(text) - 38)
        for number in range(events):
            tick.at = number * seconds / events
            recorder.output(1, (text % number + pad + "\r\n").encode())
            if number % (events // 40) == 5:
                recorder.marker(f"note {number}")
        tick.at = seconds
        recorder.output(1, b"the very end\r\n")

    return play


def shift(recorder: Recorder, tick: Tick) -> None:
    """A day before an operator's screen, painted over every ten seconds: nothing that could be leapt over, 80 MB of it."""
    filling = "." * 9_200
    for number in range(8_640):
        tick.at = number * 10.0
        here = f"\x1b[3;1H\x1b[Kpainting {number:04d}"
        recorder.output(1, f"\x1b[1;1H{filling[: 60 * (number % 2 + 1)]}\x1b]0;{filling}\x07{here}".encode())
        if number == 10:
            recorder.output(1, b"\x1b[9;1Hset up long before")
    tick.at = DAY
    recorder.output(1, b"\x1b[5;1Hthe very end")


PLAYS: dict[str, Callable[[Recorder, Tick], None]] = {
    "tour": tour,
    "hostile": hostile,
    "big": long_lines(LENGTHS["big"], 49_500_000, MANY_EVENTS),
    "day": long_lines(DAY, 500_000_000, 4_000_000),
    "shift": shift,
    "mixed": mixed,
    "corpus": corpus(150_000),
    "watched": corpus(600_000),
    "open": tour,
    "deleted": tour,
    "damaged": tour,
}


def make(name: str, number: int, now: datetime) -> SSHSession:
    """The session, over, sealed and released, and what the name says happened to its recording."""
    from sessions import services
    from sessions.models import Recording, SSHSession
    from sessions.services import ChannelFacts
    from sessions.services.recordings import store
    from sessions.states import EndReason, RecordingState
    from tests.web import stage

    began = now - (timedelta(minutes=2) if name == "watched" else timedelta(days=2 + number))
    incident = stage.open_incident(f"Historian answers nobody ({name})", began)
    asked = stage.approve(stage.ask("rita", "historian-down", incident, began), "ada", began)
    session = stage.open_session(stage.grant_of(asked), began)
    services.save_channel(session.id, ChannelFacts(number=1, kind="shell", opened_at=began))
    uptime = ChannelFacts(number=3, kind="exec", opened_at=began, command="uptime", exit_status=0)
    services.save_channel(session.id, uptime)
    _record(session, PLAYS[name], closes=name != "watched")
    if name == "watched":
        return SSHSession.objects.get(pk=session.pk)
    seconds = {"corpus": 90.0, "mixed": 60.0, "tour": 120.0, "hostile": 21.0}.get(
        name, LENGTHS.get(name, 120.0)
    )
    over = began + timedelta(seconds=seconds)
    _say(session, began)
    totals = services.Totals(bytes_in=214, bytes_out=18_734)
    services.end_session(session.id, EndReason.CLIENT_CLOSED, totals, over)
    if name != "open":
        assert services.seal_recording(session.id, over)
    stage.release(stage.grant_of(asked), min(over, began + timedelta(minutes=20)))
    services.open_due_reviews(over)
    path = store().sealed_path(session.id)
    if name == "deleted":
        Recording.objects.filter(session=session).update(state=RecordingState.DELETED, deleted_at=now)
    if name == "damaged":
        _damage(path)
    return SSHSession.objects.get(pk=session.pk)


def _record(session: SSHSession, play: Callable[[Recorder, Tick], None], *, closes: bool) -> None:
    from sessions.recording.recorder import Recorder
    from sessions.services.recordings import store
    from tests.web.stage import Tick

    store().prepare()
    tick = Tick()
    header = {
        "width": 80,
        "height": 24,
        "timestamp": int(session.opened_at.timestamp()),
        "title": session.label,
    }
    recorder = Recorder(store().open_path(session.id), header, clock=tick)
    play(recorder, tick)
    if closes:
        recorder.close()


def _say(session: SSHSession, began: datetime) -> None:
    from sessions.models import ChatMessage, TranscriptEntry, Watch
    from tests.web import stage

    ada = stage.person("ada")
    for second, text in ((11, "Is that the right disk?"), (12, "</script>\u202e ok, go on")):
        ChatMessage.objects.create(
            session=session, person=ada, at=began + timedelta(seconds=second), text=text
        )
    Watch.objects.create(
        session=session,
        person=ada,
        began_at=began + timedelta(seconds=8),
        seen_at=began + timedelta(seconds=20),
    )
    for at, text in ((4.0, "df -h"), (9.0, "ls spool | wc -l"), (100.0, "systemctl restart historian")):
        TranscriptEntry.objects.create(
            session=session, channel=1, kind="command", exact=False, began=at, text=text
        )
    TranscriptEntry.objects.create(
        session=session, channel=1, kind="screen", exact=False, began=70.0, ended=80.0, text="vi notes.txt"
    )


def _damage(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[400] ^= 1
    path.write_bytes(raw)


def cookies() -> Iterator[tuple[str, str]]:
    """Each person, and the cookie of a browser in which they have logged in with both factors."""
    from tests.web.conftest import browser_of

    for username in PEOPLE:
        yield username, browser_of(username).cookies["sessionid"].value


def main(names: list[str]) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    from breakglass import clock
    from tests.support import cast
    from tests.web import stage

    call_command("migrate", verbosity=0)
    now = clock.now()
    cast.everybody(now - timedelta(days=30))
    stage.set_machines(now - timedelta(days=30))
    stage.set_key("rita", now - timedelta(days=30))
    made = {name: str(make(name, number, now).id) for number, name in enumerate(names)}
    print(json.dumps({"sessions": made, "cookies": dict(cookies())}))


if __name__ == "__main__":
    main(sys.argv[1:])
