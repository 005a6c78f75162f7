"""A new key for recordings: each data key is wrapped anew and put beside its file; no recording is written anew.

A run that was cut off at any point is finished by the next: what is done already is skipped, and what opens a recording
is replaced only after the new wrap was opened again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from breakglass.domain.audit import AuditTag
from breakglass.services import audit
from sessions.models import Recording
from sessions.recording import kept, keyring, sealed
from sessions.recording.keyring import BadWrap, Keyring, KeyUnknown
from sessions.recording.store import SEALED
from sessions.services import holdings, recording_keys
from sessions.services.remote import Remote, StoreAway, remote_store
from sessions.states import RecordingState

NOTHING = "(none)"


@dataclass(frozen=True)
class Wrapped:
    """A file, in one of its places, and the name of the key without which it can't be opened."""

    session: str
    name: str
    key: str
    problem: str = ""


@dataclass
class Tally:
    """What a run has done."""

    rewrapped: int = 0
    already: int = 0
    from_keys: Counter[str] = field(default_factory=Counter)
    failed: list[Wrapped] = field(default_factory=list)


def look() -> Iterator[Wrapped]:
    """Every file of every recording there is, and the key that it needs. Changes nothing. KeyUnavailable."""
    keys, remote = recording_keys.keyring(), remote_store()
    for recording in _recordings():
        for place in _places(recording, remote):
            yield place if isinstance(place, Wrapped) else _look(place, keys)


def rotate(now: datetime, tell: Callable[[Wrapped], None]) -> Tally:
    """Wrap every data key under the key in use. `tell` hears of each file. KeyUnavailable.

    Waits for a transfer of recordings that is under way; none begins meanwhile.
    """
    keys, remote = recording_keys.keyring(), remote_store()
    with holdings.alone(wait=True):
        to_do = Counter(one.key for one in look())
        del to_do[keys.name]
        if to_do:
            data: dict[str, Any] = {"key": keys.name, "from": dict(to_do)}
            audit.record(
                AuditTag.RECORDING_KEY_ROTATING, actor=None, subject=f"key:{keys.name}", now=now, data=data
            )
        tally = Tally()
        for recording in _recordings():
            for place in _places(recording, remote):
                done = place if isinstance(place, Wrapped) else _rewrap(place, keys, tally)
                if done.problem:
                    tally.failed.append(done)
                tell(done)
        if to_do:
            data = {
                "key": keys.name, "from": dict(tally.from_keys), "files": tally.rewrapped,
                "already": tally.already, "failed": len(tally.failed),
            }  # fmt: skip
            audit.record(
                AuditTag.RECORDING_KEY_ROTATED, actor=None, subject=f"key:{keys.name}", now=now, data=data
            )
    return tally


@dataclass(frozen=True)
class _Place:
    """One copy of a file: on the disk, or in the store (`remote`)."""

    session: str
    path: Path
    remote: Remote | None

    @property
    def name(self) -> str:
        return holdings.name_of(self.path)

    @property
    def is_sealed(self) -> bool:
        return self.path.name.endswith(SEALED)

    def head(self) -> bytes:
        """The file's own first bytes, up to its data."""
        count = sealed.FRAMES_START if self.is_sealed else kept.HEAD
        if self.remote:
            return self.remote.head(self.name, count)
        with self.path.open("rb") as source:
            return source.read(count)

    def wrap(self) -> bytes | None:
        """The newer wrap beside it."""
        if self.remote:
            return self.remote.small(self.name + keyring.ENDING)
        return keyring.read_beside(self.path)

    def put(self, line: bytes) -> None:
        if self.remote:
            self.remote.put_small(self.name + keyring.ENDING, line)
        else:
            keyring.write_beside(self.path, line)

    def says(self, key: str, problem: str = "") -> Wrapped:
        where = " (in the object store)" if self.remote else ""
        return Wrapped(self.session, self.name + where, key, problem)


def _recordings() -> Iterator[Recording]:
    """Those that there are."""
    there = Recording.objects.exclude(state=RecordingState.DELETED).select_related("session")
    yield from there.order_by("session__number").iterator()


def _places(recording: Recording, remote: Remote | None) -> Iterator[_Place | Wrapped]:
    session, root = recording.session, holdings.store().root
    for path in holdings.local_files(session.pk):
        yield _Place(session.label, path, None)
    if recording.stored_at is None:
        return  # what a broken-off try left in the store is sent again
    if remote is None:
        problem = "it is in an object store that BREAKGLASS_STORAGE_URL doesn't name any more"
        yield Wrapped(session.label, session.label, NOTHING, problem)
        return
    try:
        names = holdings.remote_names(session.pk, remote)
    except StoreAway as error:
        yield Wrapped(session.label, session.label, NOTHING, str(error))
        return
    for name in names:
        yield _Place(session.label, root / name, remote)


def _look(place: _Place, keys: Keyring) -> Wrapped:
    try:
        name, _ = _data_key(place, keys)
    except (BadWrap, StoreAway, OSError) as error:
        return place.says(NOTHING, str(error))
    except KeyUnknown as unknown:
        return place.says(str(unknown), f"key {unknown} is needed, and isn't given")
    return place.says(name)


def _rewrap(place: _Place, keys: Keyring, tally: Tally) -> Wrapped:
    try:
        name, data_key = _data_key(place, keys)
        if name == keys.name:
            tally.already += 1
            return place.says(name)
        head = place.head()
        line = keyring.wrap_line(keys, data_key, head)
        if keyring.unwrap_line(Keyring(keys.current), line, head) != data_key:
            raise BadWrap("the new wrap doesn't open to the same key")
        place.put(line)
    except (BadWrap, StoreAway, OSError) as error:
        return place.says(NOTHING, str(error))
    except KeyUnknown as unknown:
        return place.says(str(unknown), f"key {unknown} is needed, and isn't given")
    tally.rewrapped += 1
    tally.from_keys[name] += 1
    return place.says(keys.name)


def _data_key(place: _Place, keys: Keyring) -> tuple[str, bytes]:
    """The file's data key, and which key it was had from: the newer wrap's, else that of its own."""
    head, wrap = place.head(), place.wrap()
    if wrap is not None:
        try:
            return keyring.name_in(wrap), keyring.unwrap_line(keys, wrap, head)
        except KeyUnknown:
            pass  # the file's own may be of a key that we have
    if place.is_sealed:
        name, wrapped = sealed.wrap_in(head)
        return name, keys.unwrap(name, wrapped)
    if not head.startswith(kept.MAGIC):
        raise BadWrap("it doesn't begin as a kept file")
    return keys.unwrap_any(head[len(kept.MAGIC) :])
