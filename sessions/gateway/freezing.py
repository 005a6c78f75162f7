"""Freezing: what the person sends is held, in order and bounded, while output goes on; then it is sent on once, or never.

Whoever freezes or unfreezes never waits: the line that tells the person, and what was held, go out in a thread that
lives as long as there is something of it to do.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from paramiko.ssh_exception import SSHException

from breakglass import clock
from sessions.states import EndReason

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession

KEYS_LAST = 3.0
MOST_HELD = 256
"""Requests of one channel that are held; their data is bounded by the window, of which nothing is given back."""
PIECE = 32 * 1024
RESIZE = "window-change"
BY_PERSON = "a person"
"""The cause that the books tell of. Others are of the gateway's own, such as a full disk."""

log = logging.getLogger("breakglass.gateway")


class Stale(bytearray):
    """What waited for so long that its sender sees another screen than they wrote it for."""


class Held:
    """What came from the person on one channel while it was frozen. `keep` is called by the connection's reader."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: deque[bytearray | tuple[str, Callable[[], None]]] = deque()
        self._count = 0
        self._flows = False
        self._over = False
        self._data_since = 0.0

    def keep_data(self, data: memoryview) -> bool:
        """False where nothing is held any more: it is passed on as ever."""
        with self._lock:
            if self._over:
                return False
            last = self._items[-1] if self._items else None
            if type(last) is bytearray:
                last += data
            else:
                if not any(isinstance(item, bytearray) for item in self._items):
                    self._data_since = clock.monotonic()
                self._items.append(bytearray(data))
            return True

    def keep(self, name: str, act: Callable[[], None]) -> bool:
        """As `keep_data`, for a request, the end of the input or the channel's close. Of resizes the last one counts."""
        with self._lock:
            if self._over:
                return False
            last = self._items[-1] if self._items else None
            if name == RESIZE and isinstance(last, tuple) and last[0] == RESIZE:
                self._items[-1] = (name, act)
                return True
            self._count += 1
            if self._count > MOST_HELD:
                raise SSHException("more requests than are held while the session is frozen")
            self._items.append((name, act))
            return True

    def flow(self, on: bool) -> None:
        """From now on what is held may go, or not."""
        with self._lock:
            self._flows = on

    def age(self, most: float) -> None:
        """Where the first of the data has waited longer than `most` seconds, all of it is stale: half a line is worse."""
        with self._lock:
            data = [number for number, item in enumerate(self._items) if isinstance(item, bytearray)]
            if data and clock.monotonic() - self._data_since > most:
                for number in data:
                    self._items[number] = Stale(self._items[number])  # type: ignore[arg-type]

    def take(self) -> bytes | Stale | Callable[[], None] | None:
        """The next piece that may go, or None. When the last one has gone the reader passes things on by itself."""
        with self._lock:
            if not self._flows:
                return None
            if not self._items:
                self._over = True
                return None
            first = self._items[0]
            if isinstance(first, tuple):
                self._items.popleft()
                self._count -= 1
                return first[1]
            piece = Stale(first[:PIECE]) if isinstance(first, Stale) else bytes(first[:PIECE])
            del first[:PIECE]
            if not first:
                self._items.popleft()
            return piece

    @property
    def is_over(self) -> bool:
        return self._over


class Freeze:
    """One session's: the causes for which it is frozen, each by its own name. It goes on when none is left."""

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._causes: dict[str, str] = {}
        self._since = 0.0
        self._keys_age = False
        self._to_do: list[Callable[[], None]] = []

    @property
    def why(self) -> str:
        """Completes "this session is frozen"; empty while it isn't."""
        return "; ".join(list(self._causes.values()))

    def __bool__(self) -> bool:
        return bool(self._causes)

    def is_held_by(self, cause: str, *, alone: bool = False) -> bool:
        """Whether that is a cause; `alone`: and the only one."""
        return cause in self._causes and not (alone and len(self._causes) > 1)

    def soon(self, act: Callable[[], None]) -> None:
        """Have it done in the thread that tells the person, after what waits there. Never waits."""
        with self._lock:
            self._do(act)

    def begin(self, cause: str, why: str, rest: str = "", *, keys_age: bool = False) -> None:
        """`keys_age`: what is typed into a terminal meanwhile and waits for more than 3 s is thrown away in the end."""
        with self._lock:
            if self._causes.get(cause) == why:
                return
            if not self._causes:
                self._since = clock.monotonic()
            self._causes[cause] = why
            self._keys_age = self._keys_age or keys_age
            for channel in self._session.open_channels():
                channel.person.freeze()
            rest = rest or "What you send is held; output goes on."
            said = f"Breakglass: this session is frozen {why}. {rest}"
            self._do(partial(self._say, f"frozen {why}", said))

    def end(self, cause: str) -> None:
        if cause not in self._causes:
            return
        with self._lock:
            if self._causes.pop(cause, None) is None:
                return
            if self._causes:
                said = f"Breakglass: this session is still frozen {self.why}."
                self._do(partial(self._say, f"still frozen {self.why}", said))
                return
            # Whoever can't type isn't idle.
            self._session.last_typed += clock.monotonic() - max(self._since, self._session.last_typed)
            said = "Breakglass: this session goes on."
            if not self._keys_age:
                said += " What you sent meanwhile is passed on now."
            self._do(partial(self._say, "unfrozen", said))
            self._do(self._release)

    # In a thread of its own, in order. -------------------------------------------------------------------

    def _do(self, act: Callable[[], None]) -> None:
        """The lock is held."""
        self._to_do.append(act)
        if len(self._to_do) == 1:
            threading.Thread(target=self._run, name="freeze", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._to_do[0]()
            except EOFError as error:  # the session's end, or a leg's
                if self._session.reason is None:
                    self._session.on_down(error)
            except SSHException:
                self._session.end(EndReason.PROTOCOL_ERROR)
            except Exception:  # fails closed: what can't be held in order isn't passed on
                log.exception("session %s can't be frozen or go on", self._session.facts.label)
                self._session.end(EndReason.PROTOCOL_ERROR)
            with self._lock:
                self._to_do.pop(0)
                if not self._to_do:
                    return

    def _say(self, mark: str, said: str) -> None:
        if self._session.reason is None:
            self._session.note(mark)
            self._session.tell(said)

    def _release(self) -> None:
        with self._lock:
            if self._causes:
                return  # frozen again meanwhile
            keys_last, self._keys_age = KEYS_LAST if self._keys_age else None, False
            channels = self._session.open_channels()
            for channel in channels:
                channel.person.let_flow(keys_last)
        for channel in channels:
            thrown_away = channel.person.pass_on_held()
            if thrown_away:
                self._session.note(f"typed while held, and thrown away: {thrown_away} bytes")
                channel.tell(
                    "Breakglass: what you typed meanwhile was thrown away. Look at the screen, and type it again."
                )
