"""What a terminal showed becomes commands: real shells behind a real pseudo-terminal, and streams made to hurt."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sessions.recording.recorder import Recorder
from sessions.recording.rendering import Known, Rendered, render
from sessions.recording.spans import Budget, Span
from tests.recording.hostile_corpus import HOSTILE, Hostile
from tests.recording.scene import HEADER

LIMIT = 30.0
SHELL = {1: Known("shell")}
ENTER, UP, BACKSPACE, TAB, INTERRUPT = "\r", "\x1b[A", "\x7f", "\t", "\x03"


class Typist:
    """Somebody at a shell, whose every key waits until the screen has answered; all that is shown is recorded."""

    def __init__(self, path: Path, words: list[str], prompt: str, columns: int = 80) -> None:
        self.path = path
        self._prompt = prompt.encode()
        self._recorder = Recorder(path, HEADER, clock=time)
        self._recorder.marker("channel 1: shell")
        self._recorder.resize(columns, 24, channel=1)
        pid, self._fd = pty.fork()
        if pid == 0:
            for name in [name for name in os.environ if name.startswith(("BASH", "PROMPT", "LC_", "HIST"))]:
                del os.environ[name]
            os.environ.update(TERM="xterm-256color", HOME=str(path.parent), PS1=prompt, LANG="C.UTF-8")
            os.chdir("/")
            os.execvp(words[0], words)
        self._pid = pid
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._shown = b""
        self.expect(prompt)

    def keys(self, *keys: str) -> Typist:
        """One at a time: each is seen on the screen before the next."""
        for key in keys:
            for part in [key] if key.startswith("\x1b") else key:
                os.write(self._fd, part.encode())
                self._read(0.02)
        return self

    def run(self, *keys: str, until: str = "") -> Typist:
        """Keys and Enter, then the prompt again, or `until`."""
        self.keys(*keys)
        self._shown = b""
        return self.keys(ENTER).expect(until or self._prompt.decode())

    def expect(self, text: str) -> Typist:
        limit = time.monotonic() + LIMIT
        while text.encode() not in self._shown:
            assert time.monotonic() < limit, (text, self._shown[-500:])
            self._read(0.2)
        self._shown = b""
        self._read(0.05)
        return self

    def leave(self) -> Rendered:
        os.close(self._fd)
        os.waitpid(self._pid, 0)
        self._recorder.close()
        return render([self.path.read_bytes()], SHELL, ticks=time.thread_time)

    def _read(self, patience: float) -> None:
        while select.select([self._fd], [], [], patience)[0]:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                return
            if not data:
                return
            self._shown += data
            self._recorder.output(1, data)
            if len(self._shown) > 1 << 20:
                return


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Typist]:
    def start(name: str, prompt: str = "op@hist:~$ ", **more: int) -> Typist:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        words = {"bash": ["bash", "--norc", "--noprofile"]}.get(name, [name])
        return Typist(tmp_path / "a.cast", words, prompt, **more)

    return start


def commands(done: Rendered) -> list[str]:
    return [span.text for span in done.spans if span.kind == "command"]


def shown(span: Span) -> list[str]:
    return [line.text for line in span.lines]


def test_bash_as_people_use_it(shell: Callable[..., Typist]) -> None:
    at = shell("bash")
    at.run("echo one two")
    at.keys("echo wrong", *[BACKSPACE] * 5).run("right")
    at.run(UP, UP)
    at.run("echo " + "x" * 100)
    at.keys("echo unsent", INTERRUPT)
    at.expect("op@hist:~$ ")
    at.run("seq 1 2000")
    at.run("ls /etc/hostn", TAB)
    at.run("sh -c 'exit 3'")
    done = at.leave()
    assert commands(done) == [
        "echo one two", "echo right", "echo one two", "echo " + "x" * 100, "seq 1 2000", "ls /etc/hostname",
        "sh -c 'exit 3'",
    ]  # fmt: skip
    first, *_ = (span for span in done.spans if span.kind == "command")
    assert shown(first) == ["one two"] and not first.exact and first.ended is not None
    lines = [line.text for span in done.spans for line in span.lines]
    assert [line for line in lines if line.isdigit()] == [str(number) for number in range(1, 2001)]


@pytest.mark.parametrize("name", ["dash", "bash"])
@pytest.mark.parametrize("prompt", ["# ", "op@hist:~$ ", "hist% "])
def test_other_shells_and_prompts(shell: Callable[..., Typist], name: str, prompt: str) -> None:
    at = shell(name, prompt)
    at.run("echo hello")
    at.run("printf '# a comment\\n$ a price\\n'")
    at.run("for i in 1 2", until="> ").run("do echo $i", until="> ").run("done")
    done = at.leave()
    assert commands(done) == [
        "echo hello",
        "printf '# a comment\\n$ a price\\n'",
        "for i in 1 2\ndo echo $i\ndone",
    ]
    assert [shown(span) for span in done.spans if span.kind == "command"] == [
        ["hello"], ["# a comment", "$ a price"], ["1", "2"],
    ]  # fmt: skip


def test_a_wrapped_line_edited_in_the_middle(shell: Callable[..., Typist]) -> None:
    at = shell("bash", columns=40)
    at.keys("echo " + "a" * 60, *["\x1b[D"] * 30).run("MIDDLE")
    at.keys("echo " + "b" * 60, *[BACKSPACE] * 58).run()
    assert commands(at.leave()) == ["echo " + "a" * 30 + "MIDDLE" + "a" * 30, "echo bb"]


def test_what_is_not_echoed_is_nowhere(shell: Callable[..., Typist]) -> None:
    at = shell("bash")
    at.run("read -rsp 'Password: ' x", until="Password: ")
    at.run("hunter2-secret")
    at.run("echo over")
    done = at.leave()
    assert "hunter2" not in str(done.spans)
    assert commands(done)[-1] == "echo over"


def test_full_screen_programs_are_spans(shell: Callable[..., Typist], tmp_path: Path) -> None:
    if shutil.which("vi") is None or shutil.which("top") is None:
        pytest.skip("vi or top is not installed")
    (tmp_path / "note").write_text("a wombat was here\n")
    at = shell("bash")
    at.run(f"vi {tmp_path}/note", until="wombat").keys(":q!").run()
    at.run("top -d 0.3", until="PID")
    for _ in range(5):
        at.expect("\x1b[H")
    at.keys("q").expect("op@hist:~$ ")
    at.run("echo after")
    done = at.leave()
    assert [(span.kind, span.text.split(" ")[0]) for span in done.spans] == [
        ("command", "vi"), ("screen", "vi"), ("command", "top"), ("screen", "top"), ("command", "echo"),
    ]  # fmt: skip
    vi, top = (span for span in done.spans if span.kind == "screen")
    assert "a wombat was here" in shown(vi) and any("PID" in line for line in shown(top))
    assert all(not span.lines for span in done.spans if span.text.startswith(("vi ", "top ")))


def stream(tmp_path: Path, *pieces: bytes, size: tuple[int, int] = (80, 24)) -> Rendered:
    recorder = Recorder(tmp_path / "b.cast", HEADER, clock=time)
    recorder.resize(*size, channel=1)
    for piece in pieces:
        recorder.output(1, piece)
    recorder.close()
    return render([(tmp_path / "b.cast").read_bytes()], SHELL, ticks=time.thread_time)


def test_marks_of_the_shell_tell_where_and_how_it_ended(tmp_path: Path) -> None:
    done = stream(
        tmp_path, b"\x1b]133;A\x07odd prompt: \x1b]133;B\x07", b"make", b"\r\n\x1b]133;C\x07", b"no rule\r\n",
        b"\x1b]133;D;2\x07\x1b]133;A\x07odd prompt: \x1b]133;B\x07",
    )  # fmt: skip
    (span,) = (span for span in done.spans if span.kind == "command")
    assert (span.text, span.exit_status, shown(span), span.exact) == ("make", 2, ["no rule"], False)


@pytest.mark.parametrize("prompt", ["┌──(op㉿hist)-[~]\r\n└─$ ", "op ~/src \ue0b0 ", "PS C:\\> ", "mysql> "])
def test_prompts_of_other_worlds(tmp_path: Path, prompt: str) -> None:
    line = prompt.encode()
    done = stream(tmp_path, line, b"w", b"ho", b"\r\nop pts/0\r\n", line, b"id", b"\r\nuid=1\r\n", line)
    assert commands(done) == ["who", "id"]
    assert [shown(span) for span in done.spans if span.kind == "command"] == [["op pts/0"], ["uid=1"]]


def test_clearing_the_screen_loses_nothing(tmp_path: Path) -> None:
    done = stream(
        tmp_path, b"$ ", b"ls\r\nimportant\r\n$ ", b"clear\r\n\x1b[H\x1b[2J$ ", b"echo x\r\nx\r\n$ ", b"\x1b[H\x1b[2J$ ",
    )  # fmt: skip
    assert commands(done) == ["ls", "clear", "echo x"]
    assert [line.text for span in done.spans for line in span.lines] == ["important", "x"]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_a_hostile_stream_is_read_to_its_end(tmp_path: Path, case: Hostile) -> None:
    size = (1000, 1000) if len(case.data) < 1 << 20 else (80, 24)
    pieces = [case.data[at : at + 65536] for at in range(0, len(case.data), 65536)]
    done = stream(tmp_path, *pieces, b"\x18\x1b\\\x1bc\r\nstill reading\r\n", size=size)
    text = "\n".join([span.text + "\n" + "\n".join(shown(span)) for span in done.spans])
    assert not done.problem
    assert "still reading" in text and case.seen in text
    assert not any(ord(char) < 32 and char != "\n" for char in text) and not set(text) & set(
        "\x7f\x9b\u202e\u2066"
    )
    assert len(text) < 4 * 1024 * 1024


def test_time_and_space_are_bounded_and_it_is_said(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "c.cast", HEADER, clock=time)
    recorder.resize(80, 24, channel=1)
    for number in range(200):
        recorder.output(1, b"line %d\r\n" % number)
    recorder.close()
    pieces = [(tmp_path / "c.cast").read_bytes()]
    ticks = iter(range(10_000))
    late = render(pieces, SHELL, ticks=lambda: float(next(ticks)), seconds=50)
    assert "too long" in late.problem and 0 < late.lines < 200
    full = render(pieces, SHELL, ticks=time.thread_time, budget=Budget(lines=10))
    assert full.lines == 10 and full.problem and full.spans[-1].cut
