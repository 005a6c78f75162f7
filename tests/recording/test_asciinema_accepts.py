"""The real asciinema program and the real player in a browser take our recordings: all channels, one, hostile ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from playwright.sync_api import Browser

from sessions.recording.recorder import Recorder
from sessions.recording.seal import open_sealed, seal
from sessions.recording.transcript import channel_view, read_file
from tests.recording.scene import HEADER, REPOSITORY, Keys, session

PLAYER = REPOSITORY / "breakglass" / "web" / "static" / "vendor" / "asciinema-player.min.js"
Program = Callable[..., subprocess.CompletedProcess[bytes]]


def accepted(done: subprocess.CompletedProcess[bytes]) -> bytes:
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_cat_prints_what_was_shown(tmp_path: Path, asciinema: Program) -> None:
    session(tmp_path / "a.cast")
    shown = accepted(asciinema("cat", tmp_path / "a.cast"))
    assert shown.decode() == (
        "".join(f"line {number}: café \x1b[31mred\x1b[0m\r\n" for number in range(3))
        + "Linux \ufffd\ufffdwarning\n$ exit\r\n\ufffd"
    )


def test_cat_takes_one_channel_s_view_and_an_unsealed_copy(
    tmp_path: Path, asciinema: Program, keys: Keys
) -> None:
    session(tmp_path / "a.cast")
    (tmp_path / "view.cast").write_bytes(b"".join(channel_view(read_file(tmp_path / "a.cast"), 3)))
    assert accepted(asciinema("cat", tmp_path / "view.cast")).decode() == "Linux \ufffd\ufffdwarning\n\ufffd"
    expected = accepted(asciinema("cat", tmp_path / "a.cast"))
    seal(tmp_path / "a.cast", tmp_path / "a.sealed", keys.encryption, keys.signing, {})
    copy = tmp_path / "copy.cast"
    copy.write_bytes(b"".join(open_sealed(tmp_path / "a.sealed", keys.encryption, keys.public)))
    assert accepted(asciinema("cat", copy)) == expected


def test_play_plays_it_in_a_terminal(tmp_path: Path) -> None:
    session(tmp_path / "a.cast")
    program = Path(sys.executable).with_name("asciinema")
    environment = {**os.environ, "ASCIINEMA_CONFIG_HOME": str(tmp_path)}
    player = pexpect.spawn(
        str(program), ["play", "-s", "1000", str(tmp_path / "a.cast")], env=environment, timeout=30
    )
    player.expect_exact("$ exit")
    player.expect(pexpect.EOF)
    player.close()
    assert (player.exitstatus, player.signalstatus) == (0, None)
    assert b"Traceback" not in player.before


@pytest.mark.parametrize(
    "seed", [b'\x00\x1b\x7f\x80\xc0\xff"\\\r\n\xed\xa0\x80\xf4\x90\x80\x80', bytes(range(256)), b""]
)
def test_no_bytes_make_a_recording_that_is_not_accepted(
    tmp_path: Path, asciinema: Program, seed: bytes
) -> None:
    recorder = Recorder(tmp_path / "a.cast", HEADER, clock=time)
    for start in range(len(seed) + 1):
        recorder.output(start % 3, seed[start:] + seed[:start])
    recorder.marker("\x00\x1b]\ud800\u2028")
    recorder.resize(0, 99999)
    recorder.close()
    accepted(asciinema("cat", tmp_path / "a.cast"))


@pytest.mark.requires("chromium")
def test_the_player_in_a_browser_plays_it_and_lists_its_markers(tmp_path: Path, browser: Browser) -> None:
    cast = session(tmp_path / "a.cast").decode()
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_content("<div id=player></div>")
    page.add_script_tag(path=PLAYER)
    markers = page.evaluate(
        """cast => new Promise(done => {
            const box = document.getElementById("player"), seen = [];
            const player = AsciinemaPlayer.create({data: cast}, box, {speed: 100});
            player.addEventListener("marker", marker => seen.push(marker.label));
            player.addEventListener("ended", () => done(seen));
            player.play();
        })""",
        cast,
    )
    shown = page.locator(".ap-term").inner_text()
    page.close()
    assert markers == ["exec 3: uname -a"]
    assert "Linux \ufffd\ufffdwarning" in shown
    assert errors == []
