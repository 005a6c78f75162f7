"""Much text through a terminal: packets that arrive together become one event, and not a byte is lost or moved."""

from __future__ import annotations

from django.conf import settings

from sessions.recording.transcript import exact_bytes, read_file
from tests.gateway.house import House


def test_a_flood_of_text_is_shown_and_recorded_byte_for_byte(house: House) -> None:
    house.grant()
    program = r"""stty raw -echo; i=0; while [ $i -lt 5 ]; do seq 1 20000; printf '\342\202\254 \377\n'; i=$((i+1)); done"""
    done = house.run(program, options=("-tt",))
    numbers = "".join(f"{number}\n" for number in range(1, 20_001)).encode()
    assert done.stdout == (numbers + b"\xe2\x82\xac \xff\n") * 5
    session = house.ended()
    path = settings.BREAKGLASS.data_dir / "recordings" / "open" / f"{session.pk}.cast"
    assert b"".join(exact_bytes(read_file(path), 1)) == done.stdout
