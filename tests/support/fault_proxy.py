"""A TCP proxy whose network can fail: cut every connection, lose or swallow or hold back what is sent, delay it, let it trickle."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading
import time
from types import TracebackType

CHUNK = 64 * 1024
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0


class FaultProxy:
    """Listens on `port` (any free one) and passes bytes to (`host`, `to_port`) until told otherwise."""

    def __init__(self, host: str, to_port: int) -> None:
        self._target = (host, to_port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._swallowing = False
        self._delay = 0.0
        self._rate = 0.0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def cut(self, *, refuse: bool = False) -> None:
        """Ends every connection at once, as a reset. With `refuse` new ones end the same way until `mend`."""
        self._refusing = refuse
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _reset(end)

    def stall(self) -> None:
        """From now on nothing arrives, in either direction; no connection is closed, and what waits arrives later."""
        self._flowing.clear()

    def blackhole(self) -> None:
        """From now on every packet, in either direction, is lost, as with a cable cut: nothing is acknowledged, no goodbye
        arrives, no connection is closed. By a filter in the kernel on our ends (Linux)."""
        program = struct.pack("HxxxxxxP", 1, ctypes.addressof(_DROP_ALL))
        with self._lock:
            for pair in self._pairs:
                for end in pair:
                    with contextlib.suppress(OSError):
                        end.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def swallow(self) -> None:
        """As `blackhole`, but something in between goes on acknowledging what it throws away."""
        self._swallowing = True

    def delay(self, seconds: float) -> None:
        """From now on everything takes so much longer."""
        self._delay = seconds

    def trickle(self, bytes_a_second: float) -> None:
        """From now on each direction of each connection is that slow."""
        self._rate = bytes_a_second

    def mend(self) -> None:
        """The network works again; what was held back arrives, what was swallowed doesn't."""
        self._refusing = self._swallowing = False
        with self._lock:
            for pair in self._pairs:
                for end in pair:
                    with contextlib.suppress(OSError):
                        end.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        self._delay = self._rate = 0.0
        self._flowing.set()

    def close(self) -> None:
        self.mend()
        # Closing alone leaves a thread in accept() where it is, and the port open.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut(refuse=True)

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        if self._refusing:
            _reset(near)
            return
        try:
            far = socket.create_connection(self._target, timeout=10)
        except OSError:
            _reset(near)
            return
        far.settimeout(None)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._pairs.append((near, far))
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(max(1, int(self._rate / 10)) if self._rate else CHUNK):
                self._flowing.wait()
                if self._swallowing:
                    continue
                if self._delay:
                    time.sleep(self._delay)
                if self._rate:
                    time.sleep(len(data) / self._rate)
                sink.sendall(data)
            self._flowing.wait()
            if not self._swallowing:
                sink.shutdown(socket.SHUT_WR)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        end.shutdown(socket.SHUT_RDWR)
    end.close()
