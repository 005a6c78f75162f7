"""No word in a command, and no bulk before it, makes a way to a shell that the recording doesn't show (law 4)."""

from __future__ import annotations

import time

import pytest

from sessions.gateway.keeping import BURST, TAIL, TRICKLE, Keeping
from tests.gateway.house import House

LIMIT = 64 * 1024


@pytest.mark.parametrize("lead", ["echo scp", "true rsync", ": sftp-server"])
@pytest.mark.parametrize("terminal", [(), ("-tt",)])
def test_a_command_that_names_a_file_transfer_is_recorded_like_any_other(
    house: House, lead: str, terminal: tuple[str, ...]
) -> None:
    house.grant(channels=["shell", "exec", "sftp"])
    done = house.run(f"{lead} ; echo seen-$((6*7))", options=terminal)
    assert b"seen-42" in done.stdout
    assert "seen-42" in house.recording(house.ended())


def test_a_conversation_after_a_bulk_stream_is_recorded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.gateway.opening.Facts", _with_a_small_limit())
    house.grant()
    child = house.popen("head -c 8000000 /dev/zero | tr '\\0' z; echo; echo the-tail-$((6*7)); exec sh")
    assert child.stdin and child.stdout
    seen = b""
    while b"the-tail-42" not in seen[-100:]:
        seen += child.stdout.read1(65536)  # type: ignore[attr-defined]
    for word in ("one", "two"):
        time.sleep(0.3)
        child.stdin.write(f"echo said-{word}-$((6*7))\n".encode())
        child.stdin.flush()
        assert f"said-{word}-42".encode() in child.stdout.readline()
    child.stdin.close()
    child.wait(30)
    recorded = house.recording(house.ended())
    assert all(word in recorded for word in ("the-tail-42", "said-one-42", "said-two-42"))
    assert "bytes of output are not shown here" in recorded
    assert len(recorded) < 4_000_000


def _with_a_small_limit() -> object:
    from sessions.gateway.live import Facts

    def make(**facts: object) -> Facts:
        return Facts(**(facts | {"output_limit": LIMIT}))  # type: ignore[arg-type]

    return make


def test_all_is_kept_up_to_the_limit_and_a_stream_beyond_it_is_not() -> None:
    keeping = Keeping(LIMIT)
    assert keeping.takes(LIMIT, 0.0)
    assert not keeping.takes(1024, 0.0)
    assert not keeping.takes(TRICKLE, 0.5)


def test_what_comes_no_faster_than_people_read_is_kept_beyond_the_limit() -> None:
    keeping = Keeping(0)
    assert not keeping.takes(32 * 1024, 0.0)
    assert all(keeping.takes(TRICKLE // 4, 1.0 + at / 4) for at in range(100))
    assert not keeping.takes(BURST + 1, 1e9)


def test_the_last_bytes_that_were_left_out_are_kept_for_the_record() -> None:
    keeping = Keeping(0)
    for number in range(100):
        keeping.skip(bytes([number]) * 8192, stderr=False)
    left_out, tail = keeping.take_gap()
    kept = b"".join(data for data, _ in tail)
    assert TAIL <= len(kept) < TAIL + 8192 and kept.endswith(b"\x63" * 8192)
    assert left_out + len(kept) == 100 * 8192
    assert keeping.take_gap() == (0, [])
