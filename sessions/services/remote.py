"""The object store, in the few words that storing recordings needs. Every failure comes out as one of two."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import storages

from breakglass import clock

PIECE: Final = 1024 * 1024
GRACE: Final = 60.0
SLOWEST: Final = 128 * 1024
"""Bytes a second below which a transfer is given up, after the first minute: a store that trickles hangs nobody."""


class StoreAway(Exception):
    """The object store can't be reached, refuses, or breaks off. Nothing is known of what it holds."""


class ObjectMissing(FileNotFoundError):
    """The object store says that it has no such object."""


class Remote:
    """One object store; for one thread. Names are those of files below the recordings' folder."""

    def __init__(self) -> None:
        self._storage: Any = storages.create_storage(settings.STORAGES["recordings"])

    def put(self, name: str, path: Path) -> None:
        """Send a file; a large one in parts. StoreAway; OSError where the file itself can't be read."""
        with path.open("rb") as source, _explained(name):
            self._storage.save(name, _Paced(source))

    def put_small(self, name: str, content: bytes) -> None:
        """Send a few bytes, and read them back. StoreAway also where other bytes come back."""
        with _explained(name):
            self._storage.save(name, ContentFile(content))
        if self.small(name) != content:
            raise StoreAway(f"{name}: other bytes came back than were sent")

    def small(self, name: str) -> bytes | None:
        """A few bytes, at most 64 KiB; None where there is no such object."""
        try:
            return b"".join(self._pieces(name, "bytes=0-65535"))
        except ObjectMissing:
            return None

    def head(self, name: str, count: int) -> bytes:
        """The first `count` bytes. ObjectMissing, StoreAway."""
        return b"".join(self._pieces(name, f"bytes=0-{count - 1}"))[:count]

    def digest(self, name: str) -> tuple[int, str]:
        """Size and SHA-256 of what the store gives back, read to its end. ObjectMissing, StoreAway."""
        size, whole = 0, hashlib.sha256()
        for piece in self._pieces(name):
            size += len(piece)
            whole.update(piece)
        return size, whole.hexdigest()

    def fetch(self, name: str, sink: IO[bytes]) -> None:
        """Write the object to a file. ObjectMissing, StoreAway; OSError where it can't be written."""
        for piece in self._pieces(name):
            sink.write(piece)

    def size(self, name: str) -> int | None:
        """How large it is; None where there is no such object. StoreAway."""
        try:
            with _explained(name):
                return int(self._object(name).content_length)
        except ObjectMissing:
            return None

    def names_below(self, folder: str) -> list[str]:
        """The objects right in a folder. StoreAway."""
        with _explained(folder):
            return [f"{folder}/{name}" for name in self._storage.listdir(folder)[1]]

    def delete(self, name: str) -> None:
        """Remove an object; none is no failure. StoreAway."""
        with _explained(name):
            self._storage.delete(name)

    def _object(self, name: str) -> Any:
        key = "/".join(filter(None, (self._storage.location.strip("/"), name)))
        return self._storage.bucket.Object(key)

    def _pieces(self, name: str, part: str | None = None) -> Iterator[bytes]:
        with _explained(name):
            answer = self._object(name).get(**({"Range": part} if part else {}))
        body, pace, count = answer["Body"], _Pace(), 0
        try:
            while True:
                with _explained(name):
                    # What has come, not as much as was asked for: so that the pace is looked at while it trickles.
                    piece = body._raw_stream.read1(PIECE)
                if not piece:
                    break
                count += len(piece)
                pace.keep(name, count)
                yield piece
        finally:
            body.close()
        if count != answer["ContentLength"]:
            raise StoreAway(f"{name}: it broke off after {count} of {answer['ContentLength']} bytes")


def remote_store() -> Remote | None:
    """The object store that the settings name; one a thread, for making one costs a quarter of a second."""
    address = settings.BREAKGLASS.storage_url
    if not address:
        return None
    known: tuple[str, Remote] | None = getattr(_made, "remote", None)
    if known is None or known[0] != address:
        known = _made.remote = (address, Remote())
    return known[1]


def forget() -> None:
    """Make a new one next time, in this thread."""
    _made.remote = None


_made = threading.local()


class _Pace:
    """Gives a transfer up that is too slow to be one."""

    def __init__(self) -> None:
        self._start = clock.monotonic()

    def keep(self, name: str, count: int) -> None:
        taken = clock.monotonic() - self._start
        if taken > GRACE + count / SLOWEST:
            raise StoreAway(f"{name}: only {count} bytes went in {taken:.0f} s")


class _Paced(File):  # type: ignore[type-arg]
    """A file that is being sent."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__(source)
        self._source, self._pace = source, _Pace()

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self._pace.keep("sending", self._source.tell())
        return piece


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """What goes wrong below, in our words."""
    # Here, not above: no process that stores nothing pays for the library.
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        problem = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if problem.get("Code") in ("404", "NoSuchKey") or (
            status == 404 and problem.get("Code") != "NoSuchBucket"
        ):
            raise ObjectMissing(name) from None
        raise StoreAway(f"{name}: it answers {problem.get('Code') or status}") from error
    except (BotoCoreError, Boto3Error, ResponseParserError, HTTPError) as error:
        raise StoreAway(f"{name}: {error}") from error
