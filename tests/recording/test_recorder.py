"""Law 4: a byte is in the recording before it reaches the person, and what can't be recorded is refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import stat
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions.recording import files
from sessions.recording.recorder import MOST_AT_ONCE, SYNC_SECONDS, Recorder, RecordingFailed
from sessions.recording.transcript import Transcript, exact_bytes, read_file
from tests.recording.scene import HEADER, REPOSITORY, HandClock, events

Start = Callable[..., Recorder]
awkward = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode(errors="surrogatepass")),
    st.sampled_from(
        [b"\xe2", b"\x82", b"\xac", b"\xf0\x9f", b"\x98\x80", b"\xff", b"\xed\xa0\x80", b"\xef\xbf\xbd"]
    ),
)


def shown(path: Path) -> str:
    return "".join(data for _, code, data in events(path) if code == "o")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(chunks=st.lists(st.tuples(st.integers(0, 2), st.booleans(), awkward), max_size=12))
def test_every_byte_is_in_the_file_when_output_returns(
    chunks: list[tuple[int, bool, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("r") / "a.cast"
    recorder = Recorder(path, HEADER, clock=HandClock())
    relayed: dict[tuple[int, bool], bytes] = {}
    for channel, stderr, data in chunks:
        size = recorder.output(channel, data, stderr=stderr)
        relayed[channel, stderr] = relayed.get((channel, stderr), b"") + data
        assert size == path.stat().st_size
        found = b"".join(exact_bytes(read_file(path), channel, stderr=stderr))
        assert found == relayed[channel, stderr]
    recorder.close()
    for (channel, stderr), data in relayed.items():
        assert b"".join(exact_bytes(read_file(path), channel, stderr=stderr)) == data
        text = "".join(
            moment.data
            for moment in Transcript(read_file(path))
            if moment.code == "o" and moment.stream == (channel, stderr)
        )
        assert text == data.decode(errors="replace")


@pytest.mark.parametrize(
    "data", [bytes(70_000), os.urandom(40_000), b"\x7fELF" + os.urandom(600) + b"words\n" + bytes(9)]
)
def test_binary_output_is_kept_exactly_in_little_space_with_its_words_legible(
    data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.cast"
    recorder = Recorder(path, HEADER, clock=HandClock())
    relayed = b"\xe2\x82" + data + "\u20ac".encode()
    for piece in (relayed[:2], data, relayed[2 + len(data) :]):
        recorder.output(1, piece)
    recorder.close()
    assert b"".join(exact_bytes(read_file(path), 1)) == relayed
    assert path.stat().st_size < 2.5 * len(relayed) + 1000
    assert set(data.replace(b"\n", b"").decode("ascii", "ignore")) >= set(shown(path)[1:-1]) - set(".\n")
    assert b"words\n" not in data or "words\n" in shown(path)


def test_text_in_other_encodings_is_not_taken_for_binary(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    recorder = Recorder(path, HEADER, clock=HandClock())
    texts = [
        "Gr\xfc\xdfe \x1b[1maus\x1b[0m Köln\r\n".encode("latin-1") * 60,
        "\u65e5\u672c\u8a9e\r\n".encode("shift_jis") * 80,
    ]
    for text in texts:
        recorder.output(1, text)
    recorder.close()
    assert shown(path) == "".join(text.decode(errors="replace") for text in texts)


@given(text=st.text(min_size=1, max_size=30), at=st.integers(0, 120))
@settings(max_examples=60, deadline=None)
def test_a_character_cut_in_two_is_shown_whole(
    text: str, at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("r") / "a.cast"
    recorder = Recorder(path, HEADER, clock=HandClock())
    data = text.encode()
    recorder.output(1, data[:at])
    recorder.output(1, data[at:])
    recorder.close()
    assert shown(path) == text


def test_a_prompt_before_half_a_character_is_shown_at_once(record: Start) -> None:
    recorder = record()
    recorder.output(1, b"name: \xc3")
    assert shown(recorder.path) == "name: "
    assert [event[1:] for event in events(recorder.path)][-1] == ["h", "ww=="]


def test_half_a_character_is_shown_as_replaced_when_nothing_follows(
    record: Start, hand_clock: HandClock
) -> None:
    recorder = record(clock=hand_clock)
    recorder.output(1, b"name \xc3")
    recorder.tick()
    assert shown(recorder.path) == "name "
    hand_clock.seconds += SYNC_SECONDS
    recorder.tick()
    assert shown(recorder.path) == "name \ufffd"
    recorder.output(1, b"\xa9")
    assert b"".join(exact_bytes(read_file(recorder.path), 1)) == b"name \xc3\xa9"


def test_half_characters_of_two_channels_do_not_meet(record: Start) -> None:
    recorder = record()
    recorder.output(1, b"\xc3")
    recorder.output(2, b"\xa9")
    recorder.output(1, b"\xa9")
    recorder.close()
    assert shown(recorder.path) == "\ufffdé"


def test_a_long_output_becomes_several_events(record: Start) -> None:
    recorder = record()
    data = os.urandom(3 * MOST_AT_ONCE + 17)
    recorder.output(1, data)
    assert len([1 for event in events(recorder.path) if event[1] == "b"]) >= 4
    assert b"".join(exact_bytes(read_file(recorder.path), 1)) == data


def test_hostile_output_can_not_leave_its_line_nor_reach_a_terminal(record: Start) -> None:
    recorder = record()
    recorder.output(1, b'"]\n[0,"m","forged"]\r\n\x1b]0;x\x07\x9b31m\x00\x7f\xe2\x80\xa8')
    recorder.marker('"]\n\u2028\x1b[2J\ud800')
    recorder.close()
    raw = recorder.path.read_bytes()
    assert set(raw) <= set(range(0x20, 0x7F)) | {0x0A}
    assert [event[1] for event in events(recorder.path)] == ["c", "b", "o", "m", "e"]


def test_times_never_run_backwards(record: Start, hand_clock: HandClock) -> None:
    recorder = record(clock=hand_clock)
    for step in (0.5, -0.4, 0.2, -3.0, 0.1):
        hand_clock.seconds += step
        recorder.output(1, b"x")
    times = [event[0] for event in events(recorder.path)]
    assert times == sorted(times)


def test_the_header_states_the_facts_and_a_size_that_players_bear(tmp_path: Path) -> None:
    facts = {**HEADER, "width": 0, "height": 4_000_000_000}
    recorder = Recorder(tmp_path / "a.cast", facts, clock=time)
    recorder.resize(-1, 70_000)
    recorder.close()
    header = json.loads(recorder.path.read_text().splitlines()[0])
    assert (header["version"], header["width"], header["height"]) == (2, 1, 1000)
    assert header["breakglass"] == HEADER["breakglass"]
    assert events(recorder.path)[0][1:] == ["r", "1x1000"]


def test_a_recording_is_private_and_never_overwrites(tmp_path: Path, record: Start) -> None:
    recorder = record()
    assert stat.S_IMODE(recorder.path.stat().st_mode) == 0o600
    with pytest.raises(RecordingFailed):
        record(recorder.path)
    link = tmp_path / "link.cast"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordingFailed):
        record(link)
    assert not (tmp_path / "elsewhere").exists()
    assert not list(tmp_path.glob("*.new"))


def test_of_two_recorders_for_one_session_one_wins(tmp_path: Path) -> None:
    for round_number in range(40):
        path = tmp_path / f"{round_number}.cast"
        together = threading.Barrier(2)
        won: list[Recorder] = []

        def race(
            path: Path = path, together: threading.Barrier = together, won: list[Recorder] = won
        ) -> None:
            together.wait()
            with suppress(RecordingFailed):
                won.append(Recorder(path, HEADER, clock=time))

        racers = [threading.Thread(target=race) for _ in range(2)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert len(won) == 1
        won[0].output(1, b"mine")
        won[0].close()
        assert shown(path) == "mine"


def test_progress_is_the_hash_of_the_file(record: Start) -> None:
    recorder = record()
    recorder.output(1, b"one\xff")
    for progress in (recorder.progress(), recorder.close(), recorder.close()):
        raw = recorder.path.read_bytes()[: progress.size]
        assert progress.sha256 == hashlib.sha256(raw).hexdigest()
    assert progress.size == recorder.path.stat().st_size


def test_many_threads_write_whole_lines_in_order(record: Start) -> None:
    recorder = record()

    def shout(channel: int) -> None:
        for number in range(300):
            recorder.output(channel, f"{channel}:{number}\n".encode())

    threads = [threading.Thread(target=shout, args=(channel,)) for channel in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    for channel in range(6):
        text = b"".join(exact_bytes(read_file(recorder.path), channel)).decode()
        assert text == "".join(f"{channel}:{number}\n" for number in range(300))


WRITER = """
import os, random, sys, time
from pathlib import Path
from sessions.recording.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), {"width": 80, "height": 24}, clock=time)
chance = random.Random(sys.argv[2])
while True:
    data = chance.choice([b"log line\\r\\n", b"\\xc3", b"\\xa9t\\xc3\\xa9", chance.randbytes(chance.randrange(1, 3000))])
    recorder.output(1, data)
    os.write(1, data)  # the relay: only what is recorded
"""


@pytest.mark.parametrize("seed", range(5))
def test_sigkill_loses_no_relayed_byte(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "killed.cast"
    command = [sys.executable, "-c", WRITER, str(path), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as writer:
        assert writer.stdout
        relayed = writer.stdout.read(20_000 + 30_011 * seed)
        os.kill(writer.pid, signal.SIGKILL)
        relayed += writer.stdout.read()
    assert len(relayed) >= 20_000
    recorded = b"".join(exact_bytes(read_file(path), 1))
    assert recorded.startswith(relayed)
    assert len(recorded) - len(relayed) <= 3000  # at most the one event on its way


def test_one_thread_syncs_every_recording_each_second(record: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: dict[int, list[float]] = {}
    real = files.sync_data

    def watch(descriptor: int) -> None:
        synced.setdefault(os.fstat(descriptor).st_ino, []).append(time.monotonic())
        real(descriptor)

    monkeypatch.setattr(files, "sync_data", watch)
    recorders = [record() for _ in range(3)]
    files_of = [recorder.path.stat().st_ino for recorder in recorders]
    until = time.monotonic() + 30
    while any(len(synced.get(one, [])) < 4 for one in files_of) and time.monotonic() < until:
        for recorder in recorders:
            recorder.output(1, b"x")
        time.sleep(0.05)
    assert [thread.name for thread in threading.enumerate()].count("recording-sync") == 1
    for one in files_of:
        moments = synced[one]
        assert len(moments) >= 4
        gaps = [b - a for a, b in itertools.pairwise(moments)]
        assert SYNC_SECONDS / 2 < statistics.median(gaps) < 2 * SYNC_SECONDS


def test_a_quiet_recording_is_not_synced_again(record: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = record()
    recorder.output(1, b"x")
    recorder.tick()
    calls: list[int] = []
    monkeypatch.setattr(files, "sync_data", calls.append)
    recorder.tick()
    assert calls == []


def test_nothing_is_recorded_after_the_end(record: Start) -> None:
    recorder = record()
    recorder.close()
    with pytest.raises(RecordingFailed):
        recorder.output(1, b"late")
    assert events(recorder.path) == [[pytest.approx(0, abs=5), "e", "closed"]]
