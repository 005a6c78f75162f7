"""Commands of a terminal, found on its screen: what stood behind the prompt when the cursor left the line.

Nothing of what was typed is read, only what was shown: a password that wasn't echoed is nowhere. A prompt is a line on which
the cursor waits and that ends like one (prompts.py), or whatever the shell says with its own marks (OSC 133 and 633). Because
it is the rendered line that counts, editing, history and completion are done by the shell and not by us. A program can
draw what looks like a prompt, and print the marks too: what is found here is inferred, and said to be.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sessions.recording import prompts
from sessions.recording.spans import (
    COMMAND,
    MOST_COMMAND,
    MOST_LINE,
    OUTPUT,
    SCREEN,
    Line,
    Seen,
    Span,
)
from sessions.recording.terminal import Row, Terminal

_PAUSE: Final = 0.3
_ADDRESSES: Final = 3
"""A program that sends the cursor about the screen so often paints, and doesn't print."""
_MOST_LEARNED: Final = 50
_MOST_PENDING: Final = 50_000


@dataclass
class _Armed:
    """A prompt that waits: its line's number and its text."""

    number: int
    prompt: str
    right: str = ""
    more: bool = False


@dataclass
class _Entered:
    """A line that was left, which the shell may still take back."""

    text: str
    last: int
    armed: _Armed


class Shell:
    """One channel with a terminal. `emit` is given each span when it is over."""

    def __init__(self, channel: int, columns: int, lines: int, emit: Callable[[Span], None]) -> None:
        self._channel, self._emit = channel, emit
        self.terminal = Terminal(columns, lines, self)
        self._last = 0.0
        self._armed: _Armed | None = None
        self._entered: _Entered | None = None
        self._running: Span | None = None
        self._learned: dict[str, None] = {}
        self._pending: list[Row] = []
        self._dropped = False
        self._consumed = -1
        self._addressed = 0
        self._editing = False
        self._above = ""
        self._screen: Span | None = None
        self._seen = Seen()
        self._told = ""

    # --- what happens

    def begin(self, span: Span) -> None:
        """What the protocol says runs here: an exec with a terminal."""
        self._running = span

    def feed(self, time: float, data: str) -> None:
        """What was shown at `time`."""
        if time - self._last > _PAUSE:
            self._look()
        self._last = time
        bulk = not any(prompts.is_telling(prompt) and prompt in data for prompt in self._learned)
        self.terminal.feed(time, data, bulk=bulk)
        self._settle()

    def resize(self, columns: int, lines: int) -> None:
        self.terminal.resize(lines, columns)

    def finish(self, time: float) -> None:
        """The channel is over."""
        self._look()
        if self._screen is not None:
            self.alternate(False)
        if self._entered:
            self._accept()
        end = self._armed.number if self._armed else self.terminal.base + self.terminal.used()
        self._close(end, max(time, self._last))

    # --- Listener

    def gone(self, number: int, time: float, text: str, joined: bool) -> None:
        if self._armed and number >= self._armed.number:
            if number == self._armed.number:
                self._armed = None
            self._consumed = max(self._consumed, number)
        elif number > self._consumed:
            if len(self._pending) < _MOST_PENDING:
                self._pending.append(Row(number, time, text[:MOST_LINE], joined))
            else:
                self._dropped = True

    def drawn(self) -> None:
        if self._entered:  # completions are listed, or the line was drawn anew: it wasn't run
            self._entered = None

    def newline(self) -> None:
        screen = self.terminal
        y = screen.cursor.y
        armed = self._armed
        if armed and not self._is_edited(armed, y):
            armed = self._armed = None
        first = armed.number - screen.base if armed else screen.start(y)
        if armed is None:
            if self._entered:
                return
            prompt = self._known(screen.logical(first, y))
            if not prompt or screen.goes_on(y):
                return
            armed = self._arm(first, prompt)
        if screen.goes_on(y):
            return
        text = screen.logical(first, y)[len(armed.prompt) :].rstrip()
        if armed.right and text.endswith(armed.right):
            text = text[: -len(armed.right)]
        self._entered = _Entered(text.strip(), screen.base + y, armed)
        if not self._editing:
            self._accept()

    def paste_mode(self, on: bool) -> None:
        self._editing = on
        if not on and self._entered:
            self._accept()

    def alternate(self, on: bool) -> None:
        now = self.terminal.now
        if on:
            name = prompts.program_of(self._running.text) if self._running else ""
            self._screen = Span(self._channel, SCREEN, now, name or "full-screen program")
            self._seen = Seen()
        elif self._screen is not None:
            self._look()
            self._end_screen(self._screen, now)
            self._screen = None

    def string(self, code: str, text: str) -> None:
        """Marks of shell integration: where a command begins, that it runs, how it ended."""
        if code not in ("133", "633") or self.terminal.is_taken:
            return
        what, _, rest = text.partition(";")
        if what == "B":
            y = self.terminal.cursor.y
            self._arm(y, self.terminal.text(y, self.terminal.cursor.x))
        elif what == "E":
            self._told = _unescaped(rest.rpartition(";")[0] or rest)
        elif what == "C" and self._armed and not self._entered:
            self._runs(self._armed)
        elif what == "D" and self._running and not self._running.exact:
            with suppress(ValueError):
                self._running.exit_status = int(rest.partition(";")[0][:5])

    def _runs(self, armed: _Armed) -> None:
        """The shell says that it runs something, though the line wasn't left: what stands there, else what it says."""
        screen = self.terminal
        first = armed.number - screen.base
        if self._is_edited(armed, screen.cursor.y):
            text = screen.logical(first, screen.cursor.y)[len(armed.prompt) :].strip()
            self._entered = _Entered(text or self._told, screen.base + screen.cursor.y, armed)
            self._accept()

    # --- prompts

    def _settle(self) -> None:
        """Nothing more was shown for now: does the cursor wait at a prompt?"""
        screen = self.terminal
        if screen.is_taken:
            return
        y = screen.cursor.y
        if self._armed:
            if self._is_edited(self._armed, y):
                return
            self._armed = None
        first = screen.start(y)
        left = screen.text(y, screen.cursor.x)
        if first == y and left.strip() and prompts.looks_like(left):
            self._arm(y, left, screen.text(y)[len(left) :].strip())
        elif prompt := self._known(line := screen.logical(first, y)):
            self._take_back(line[len(prompt) :].strip(), screen.base + first)
            self._arm(first, prompt)

    def _known(self, line: str) -> str:
        """The longest prompt, of those seen before, that the line begins with. While something runs that must say much."""
        found = [
            prompt
            for prompt in self._learned
            if line.startswith(prompt.rstrip()) and (self._running is None or prompts.is_telling(prompt))
        ]
        return max(found, key=len, default="")

    def _take_back(self, text: str, number: int) -> None:
        """The same words behind the prompt again: completions were listed, nothing was run."""
        running = self._running
        if running and not running.exact and text and text == running.text:
            self._running, self._pending, self._consumed = None, [], number - 1

    def _is_edited(self, armed: _Armed, y: int) -> bool:
        first = armed.number - self.terminal.base
        if not 0 <= first <= y <= self.terminal.end(first):
            return False
        return self.terminal.logical(first, first).startswith(armed.prompt.rstrip())

    def _arm(self, y: int, prompt: str, right: str = "") -> _Armed:
        number = self.terminal.base + y
        running = self._running
        more = (
            running is not None
            and not running.exact
            and prompts.continues(prompt)
            and number == self._consumed + 1
            and not self._pending
        )
        if not more:
            self._close(number, self.terminal.began(y))
            self._learned.pop(prompt, None)
            self._learned[prompt] = None
            if len(self._learned) > _MOST_LEARNED:
                del self._learned[next(iter(self._learned))]
        self._armed = _Armed(number, prompt, right, more)
        return self._armed

    def _accept(self) -> None:
        entered, self._entered, self._armed = self._entered, None, None
        if entered is None:
            return
        self._consumed = max(self._consumed, entered.last)
        text = entered.text[:MOST_COMMAND]
        if entered.armed.more and self._running:
            self._running.text = f"{self._running.text}\n{text}"[:MOST_COMMAND]
        elif text and not text.endswith("^C"):
            self._running = Span(self._channel, COMMAND, self.terminal.now, text)
            self._addressed = self.terminal.addressed
            self._seen = Seen()
        self._told = ""

    # --- what was shown

    def _look(self) -> None:
        """What stands on the screen while a program paints it."""
        if self.terminal.is_taken or self._paints():
            self._seen.add(self._last, (row.text for row in self.terminal.rows()))

    def _paints(self) -> bool:
        return self._running is not None and self.terminal.addressed - self._addressed >= _ADDRESSES

    def _close(self, number: int, time: float) -> None:
        """A prompt stands on line `number`: all before it was shown by what ran till then."""
        if self._paints() and self._running:
            self._look()
            span = Span(self._channel, SCREEN, self._running.began, prompts.program_of(self._running.text))
            self._end_screen(span, time)
            self._pending = []
            lines: list[Line] = []
        else:
            lines = self._take(number)
        running, self._running = self._running, None
        self._consumed, dropped, self._dropped = number - 1, self._dropped, False
        if running:
            running.lines, running.cut = lines, dropped
            if running.ended is None:
                running.ended = time
            self._emit(running)
        elif any(line.text for line in lines):
            self._emit(Span(self._channel, OUTPUT, lines[0].time, lines=lines, cut=dropped))
        self._addressed = self.terminal.addressed

    def _take(self, number: int) -> list[Line]:
        """The lines before line `number` that nobody took yet, joined where they wrap."""
        here = [row for row in self.terminal.rows() if self._consumed < row.number < number]
        rows = [row for row in self._pending if row.number < number] + here
        self._pending = []
        lines: list[Line] = []
        goes_on = False
        for _, time, text, joined in rows:
            if goes_on and len(lines[-1].text) < MOST_LINE:
                lines[-1].text = (lines[-1].text + text)[:MOST_LINE]
            elif not goes_on:
                lines.append(Line(time, text[:MOST_LINE]))
            goes_on = joined
        return self._without_head(lines)

    def _without_head(self, lines: list[Line]) -> list[Line]:
        """The upper line of a prompt of two isn't output."""
        while lines and not lines[-1].text.strip():
            lines.pop()
        for line in lines:
            line.text = line.text.rstrip()
        if lines and prompts.is_head(lines[-1].text, self._above):
            lines.pop()
        elif lines:
            self._above = lines[-1].text
        return lines

    def _end_screen(self, span: Span, time: float) -> None:
        span.ended = time
        span.lines, span.cut = self._seen.lines(), self._seen.cut
        self._seen = Seen()
        self._emit(span)


def _unescaped(text: str) -> str:
    r"""VS Code spells `;` and controls in a command line as \x3b."""
    parts = text.split("\\x")
    out = [parts[0]]
    for part in parts[1:]:
        try:
            out.append(chr(int(part[:2], 16)) + part[2:])
        except ValueError:
            out.append("\\x" + part)
    return "".join(char for char in "".join(out) if char == "\n" or char.isprintable())[:MOST_COMMAND]
