"""The layout of a sealed recording: one file that carries its own proof.

  BREAKGLASS-RECORDING 1
  {"cipher":...,"key":...,"key_id":...}    the prologue: a data key for this file alone, wrapped by the house's key
  frame 0 ... frame N                      each: length (4 bytes), then 1 MiB of the recording, gzip, AES-256-GCM
  {"body":{...},"signature":...}           the manifest
  0000001234 bytes of manifest; end of recording

A frame's nonce and authenticated data hold its number and whether it is the last (the STREAM construction), so frames
can't be cut off, swapped or moved to another file. The wrapped key is the one part that the manifest's signature
leaves out (wrapping proves itself), so that the house's key can be changed without touching a recording: the newer
wrap then stands beside the file (`keyring`), and is the one that counts.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sessions.recording import keyring
from sessions.recording.keyring import BadWrap, Keyring, KeyUnknown

MAGIC: Final = b"BREAKGLASS-RECORDING 1\n"
CHUNK: Final = 1024 * 1024
CIPHER: Final = "AES-256-GCM, gzip, 1 MiB chunks"
_SIGNED: Final = b"breakglass recording manifest 1\n"
_TRAILER: Final = "{:010d} bytes of manifest; end of recording\n"
_TRAILER_SIZE: Final = len(_TRAILER.format(0))
_MOST_MANIFEST: Final = 64 * 1024 * 1024
_COMPRESSION: Final = 4
_PROLOGUE: Final = re.compile(
    rb'\{"cipher":"[^"]*","key":"(?P<key>[0-9a-f]{80})","key_id":"(?P<id>[0-9a-f]{16})"\}\n'
)


class RecordingDamaged(Exception):
    """A recording isn't what was sealed. `place` names the part of the file that shows it."""

    def __init__(self, path: Path, place: str, what: str) -> None:
        super().__init__(f"{path.name}: {place}: {what}")
        self.path, self.place, self.what = path, place, what


@dataclass(frozen=True)
class Manifest:
    """What was sealed. `sha256`, `size` and `chunks` (SHA-256 of each MiB) are of the plain asciicast file."""

    sha256: str
    size: int
    events: int
    duration_us: int
    ended: str
    chunks: tuple[str, ...]
    frames: tuple[int, ...]
    facts: dict[str, Any]
    signer: str
    signature: str = ""

    def body(self) -> bytes:
        """The bytes that are signed."""
        values = asdict(self)
        del values["signature"]
        return canonical(values)

    def as_dict(self) -> dict[str, Any]:
        """For a JSON column; `from_dict` gives the same manifest back."""
        return {**asdict(self), "chunks": list(self.chunks), "frames": list(self.frames)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Manifest:
        """Read what `as_dict` gave. ValueError if it isn't a manifest."""
        if set(values) != {field.name for field in fields(cls)}:
            raise ValueError("these are not a manifest's fields")
        return cls(**{**values, "chunks": tuple(values["chunks"]), "frames": tuple(values["frames"])})

    def signed(self, key: Ed25519PrivateKey) -> Manifest:
        """The same, signed."""
        return Manifest(**{**asdict(self), "signature": key.sign(_SIGNED + self.body()).hex()})

    def check(self, key: Ed25519PublicKey) -> None:
        """InvalidSignature unless this key signed exactly this."""
        signature = bytes.fromhex(self.signature)
        if signature.hex() != self.signature:  # fromhex() also takes capitals and spaces
            raise InvalidSignature
        key.verify(signature, _SIGNED + self.body())

    def line(self) -> bytes:
        """As it stands in the file."""
        values = asdict(self)
        signature = values.pop("signature")
        return canonical({"body": values, "signature": signature}) + b"\n"


def canonical(values: Any) -> bytes:
    """One spelling for one value."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def signer_name(key: Ed25519PublicKey) -> str:
    """A short name for a signing key, to say which one is needed."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def prologue(key: bytes | Keyring, data_key: bytes) -> bytes:
    """The line that carries the wrapped data key."""
    keys = keyring.ring(key)
    return _prologue(keys.name, keys.wrap(data_key).hex())


def wrap_in(head: bytes) -> tuple[str, bytes]:
    """Which key wrapped, and what, in a sealed file's first FRAMES_START bytes. BadWrap if they aren't such."""
    line = head[len(MAGIC) :]
    found = _PROLOGUE.fullmatch(line)
    if not head.startswith(MAGIC) or not found:
        raise BadWrap("it was altered")
    name, wrapped = found["id"].decode(), found["key"].decode()
    if line != _prologue(name, wrapped):
        raise BadWrap("it was altered")
    return name, bytes.fromhex(wrapped)


def _prologue(name: str, wrapped: str) -> bytes:
    return canonical({"cipher": CIPHER, "key": wrapped, "key_id": name}) + b"\n"


PROLOGUE_SIZE: Final = len(_prologue("0" * 16, "0" * 80))
FRAMES_START: Final = len(MAGIC) + PROLOGUE_SIZE


def seal_frame(data_key: bytes, number: int, last: bool, chunk: bytes) -> bytes:
    """Compress and encrypt one chunk."""
    packer = zlib.compressobj(_COMPRESSION, zlib.DEFLATED, 31)
    packed = packer.compress(chunk) + packer.flush()
    nonce, bound = _position(number, last)
    frame = AESGCM(data_key).encrypt(nonce, packed, bound)
    return struct.pack(">I", len(frame)) + frame


def open_frame(data_key: bytes, number: int, last: bool, frame: bytes) -> bytes:
    """The chunk, or InvalidTag or zlib.error; never more memory than a chunk and its frame."""
    return unpack(decrypt_frame(data_key, number, last, frame))


def decrypt_frame(data_key: bytes, number: int, last: bool, frame: bytes) -> bytes:
    """The chunk as gzip (one member), or InvalidTag."""
    nonce, bound = _position(number, last)
    return AESGCM(data_key).decrypt(nonce, frame, bound)


def unpack(packed: bytes) -> bytes:
    """One chunk out of its gzip member, or zlib.error."""
    unpacker = zlib.decompressobj(31)
    chunk = unpacker.decompress(packed, CHUNK + 1)
    if not unpacker.eof or unpacker.unused_data or len(chunk) > CHUNK:
        raise zlib.error("not one whole chunk")
    return chunk


def _position(number: int, last: bool) -> tuple[bytes, bytes]:
    nonce = struct.pack(">7xI?", number, last)
    return nonce, MAGIC + nonce


def trailer(manifest_line: bytes) -> bytes:
    """The last line: how long the manifest before it is."""
    return _TRAILER.format(len(manifest_line)).encode("ascii")


class SealedFile:
    """A sealed file opened for reading. Each part is checked when it is read, and a fault names that part."""

    def __init__(
        self,
        path: Path,
        source: BinaryIO,
        key: bytes | Keyring,
        signer: Ed25519PublicKey,
        newer_wrap: bytes | None = None,
    ) -> None:
        """Read and check all but the frames. `newer_wrap` is what stands beside the file (`keyring`)."""
        self.path, self._source = path, source
        self._size = source.seek(0, 2)
        self._check_magic()
        self.manifest = self._read_manifest(signer)
        self._data_key = self._read_key(keyring.ring(key), newer_wrap)
        self._proved: dict[int, bytes] = {}

    def check(self) -> None:
        """Read all of it; RecordingDamaged unless each byte is as it was sealed."""
        for _ in self.chunks():
            pass

    def chunks(self) -> Iterator[bytes]:
        """The plain recording, each chunk checked before it is given, the whole checked after the last."""
        whole = hashlib.sha256()
        last = len(self.manifest.frames) - 1
        self._source.seek(FRAMES_START)
        for number, length in enumerate(self.manifest.frames):
            chunk = self._read_frame(number, length, number == last)
            whole.update(chunk)
            yield chunk
        if whole.hexdigest() != self.manifest.sha256:
            raise self._damaged("whole recording", "its SHA-256 isn't the one in the manifest")

    def packed(self, number: int) -> bytes:
        """One chunk as gzip, checked against the manifest before it is given. IndexError: there is none such.

        Bytes that were unpacked and checked through this object before, to the last one, aren't unpacked again.
        """
        if not 0 <= number < len(self.manifest.frames):
            raise IndexError(number)
        before = self.manifest.frames[:number]
        self._source.seek(FRAMES_START + sum(before) + 4 * number)
        last = number == len(self.manifest.frames) - 1
        return self._read_packed(number, self.manifest.frames[number], last, unpacks=False)[0]

    def close(self) -> None:
        self._source.close()

    def _damaged(self, place: str, what: str) -> RecordingDamaged:
        return RecordingDamaged(self.path, place, what)

    def _check_magic(self) -> None:
        self._source.seek(0)
        if self._source.read(len(MAGIC)) != MAGIC:
            raise self._damaged("first line", "this isn't a sealed recording, or its first line was altered")

    def _read_manifest(self, signer: Ed25519PublicKey) -> Manifest:
        line, start = self._manifest_line()
        try:
            values = json.loads(line)
            manifest = Manifest.from_dict({**values["body"], "signature": values["signature"]})
            if manifest.line() != line:
                raise ValueError("it isn't spelled as it was written")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._damaged("manifest", f"it can't be read ({error})") from error
        try:
            manifest.check(signer)
        except (InvalidSignature, ValueError, TypeError) as error:
            other = "" if manifest.signer == signer_name(signer) else f"; signed by key {manifest.signer}"
            raise self._damaged("manifest", f"its signature doesn't hold{other}") from error
        if FRAMES_START + sum(manifest.frames) + 4 * len(manifest.frames) != start:
            raise self._damaged("length", "the file is shorter or longer than its manifest says")
        return manifest

    def _manifest_line(self) -> tuple[bytes, int]:
        end = max(self._size - _TRAILER_SIZE, 0)
        self._source.seek(end)
        found = re.fullmatch(rb"(\d{10}) bytes of manifest; end of recording\n", self._source.read())
        if not found:
            raise self._damaged("last line", "the end of the file is missing or altered")
        start = end - int(found[1])
        if int(found[1]) > _MOST_MANIFEST or start < FRAMES_START:
            raise self._damaged("last line", "it gives a length that can't be")
        self._source.seek(start)
        return self._source.read(end - start), start

    def _read_key(self, keys: Keyring, newer_wrap: bytes | None) -> bytes:
        self._source.seek(0)
        head = self._source.read(FRAMES_START)
        try:
            name, wrapped = wrap_in(head)
        except BadWrap as error:
            raise self._damaged("second line", str(error)) from None
        if newer_wrap is not None:
            try:
                return keyring.unwrap_line(keys, newer_wrap, head)
            except BadWrap as error:
                raise self._damaged("key file beside it", str(error)) from None
            except KeyUnknown as error:
                name = f"{error} or {name}" if name not in keys else name
        try:
            return keys.unwrap(name, wrapped)
        except KeyUnknown:
            raise self._damaged("second line", f"key {name} is needed, or it was altered") from None
        except BadWrap as error:
            raise self._damaged("second line", str(error)) from None

    def _read_frame(self, number: int, length: int, last: bool) -> bytes:
        return self._read_packed(number, length, last)[1]

    def _read_packed(
        self, number: int, length: int, last: bool, *, unpacks: bool = True
    ) -> tuple[bytes, bytes]:
        end = min((number + 1) * CHUNK, self.manifest.size)
        place = f"chunk {number} (bytes {number * CHUNK} to {end} of the recording)"
        if self._source.read(4) != struct.pack(">I", length):
            raise self._damaged(place, "its length was altered")
        try:
            packed = decrypt_frame(self._data_key, number, last, self._source.read(length))
            digest = hashlib.sha256(packed).digest()
            if not unpacks and self._proved.get(number) == digest:
                return packed, b""
            chunk = unpack(packed)
        except (InvalidTag, zlib.error) as error:
            raise self._damaged(place, "it was altered") from error
        if hashlib.sha256(chunk).hexdigest() != self.manifest.chunks[number]:
            raise self._damaged(place, "its SHA-256 isn't the one in the manifest")
        self._proved[number] = digest
        return packed, chunk
