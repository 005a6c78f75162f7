"""The decoders alone: however a stream is cut up, the same comes out; whatever comes, nothing but Malformed is raised."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breakglass.domain.policy import FileRules
from sessions.gateway.files.commands import FileCommand, Tool, file_command
from sessions.gateway.files.lane import Lane
from sessions.gateway.files.paths import MOST_PATH, absolute, parent_and_name, shown
from sessions.gateway.files.scp import CannotFollow, ScpSource
from sessions.gateway.files.sftp_wire import (
    FROM_ASSET,
    FROM_PERSON,
    MOST_HELD,
    MOST_PACKET,
    Framer,
    Malformed,
    Own,
    Type,
    Verdict,
    number,
    packet,
    text,
)

CONTENTS = {Type.WRITE, Type.DATA}


class Scribe:
    """A judge that notes what it is asked, and answers by the request's number."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.contents: list[bytes] = []
        self.open = b""

    def on_packet(self, data: bytes) -> Verdict:
        self.packets.append(data)
        verdict: tuple[Verdict, ...] = (True, False, b"instead")
        return verdict[data[8] % 3] if len(data) > 8 else True

    def on_contents(self, piece: memoryview) -> None:
        self.open += piece

    def on_contents_end(self) -> None:
        self.contents.append(self.open)
        self.open = b""


def write(request: int, handle: bytes, offset: int, data: bytes) -> bytes:
    return packet(Type.WRITE, number(request), text(handle), struct.pack(">Q", offset), text(data))


WRITES = st.builds(
    write,
    st.integers(0, 2**32 - 1),
    st.binary(max_size=40),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=300),
)
OTHERS = st.builds(
    lambda kind, request, rest: packet(kind, number(request), rest),
    st.sampled_from([kind for kind in Type if kind not in CONTENTS]), st.integers(0, 2**32 - 1), st.binary(max_size=300),
)  # fmt: skip
DATAS = st.builds(
    lambda request, data: packet(Type.DATA, number(request), text(data)),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=300),
)


def through(framer: Framer, stream: bytes, cuts: list[int]) -> tuple[bytes, int]:
    """What comes out of the framer, and how much was swallowed."""
    out, at = b"", 0
    for cut in [*sorted(cuts), len(stream)]:
        piece = stream[at:cut]
        at = max(at, cut)
        for part in framer.feed(memoryview(piece)):
            out += piece[part[0] : part[1]] if isinstance(part, tuple) else part
    return out, framer.swallowed


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(WRITES, OTHERS), max_size=8),
    st.lists(st.integers(0, 3000), max_size=30),
    st.booleans(),
)
def test_a_stream_means_the_same_however_it_is_cut_up(
    packets: list[bytes], cuts: list[int], down: bool
) -> None:
    stream = b"".join(packets)
    whole, pieces = Scribe(), Scribe()
    streamed = FROM_PERSON
    expected = through(Framer(whole, streamed), stream, [])
    found = through(Framer(pieces, streamed), stream, [cut for cut in cuts if cut <= len(stream)])
    assert found == expected
    assert (pieces.packets, pieces.contents) == (whole.packets, whole.contents)
    kept = [p for p in packets if p[8] % 3 == 0]
    assert expected[0].replace(b"instead", b"") == b"".join(kept).replace(b"instead", b"")
    assert len(whole.packets) == len(packets)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(DATAS, OTHERS), max_size=8), st.lists(st.integers(0, 3000), max_size=30))
def test_answers_too(packets: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(packets)
    whole, pieces = Scribe(), Scribe()
    expected = through(Framer(whole, FROM_ASSET), stream, [])
    assert (
        through(Framer(pieces, FROM_ASSET), stream, [cut for cut in cuts if cut <= len(stream)]) == expected
    )
    assert pieces.contents == whole.contents


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([FROM_PERSON, FROM_ASSET]))
def test_whatever_comes_is_followed_or_refused(stream: bytes, streamed: frozenset[int]) -> None:
    with contextlib.suppress(Malformed):
        through(Framer(Scribe(), streamed), stream, [])


@pytest.mark.parametrize("size", [0, MOST_HELD + 1, MOST_PACKET + 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("kind", [Type.OPEN, Type.STATUS, 77])
def test_a_length_out_of_bounds_is_refused_at_once(size: int, kind: int) -> None:
    for streamed in (FROM_PERSON, FROM_ASSET):
        with pytest.raises(Malformed, match="bytes"):
            Framer(Scribe(), streamed).feed(memoryview(struct.pack(">IB", size, kind)))


def test_contents_that_dont_fit_their_packet_are_refused() -> None:
    good = write(3, b"h", 0, b"abc")
    for bad in (good[:3] + bytes([good[3] + 1]) + good[4:], good[:9] + b"\xff\xff\xff\xff" + good[13:]):
        with pytest.raises(Malformed):
            Framer(Scribe(), FROM_PERSON).feed(memoryview(bad))


def test_our_own_goes_in_between_packets_never_into_one() -> None:
    framer = Framer(Scribe(), FROM_PERSON)
    stream = write(3, b"h", 0, b"abcdef") + packet(Type.CLOSE, number(3), text(b"h"))
    first = framer.feed(memoryview(stream[:30]))
    assert not framer.between and first == [(0, 30)]
    framer.due.append(b"ours")
    assert framer.feed(memoryview(stream[30:])) == [(0, 2), Own(b"ours"), (2, 16)]
    assert framer.between

    framer = Framer(Scribe(), FROM_PERSON)
    framer.feed(memoryview(stream[:27]))
    framer.due.append(b"ours")
    assert framer.feed(memoryview(stream[27:29])) == [(0, 2)]


class End:
    """A side of a channel that keeps what it is given to send."""

    def __init__(self) -> None:
        self.sent = b""
        self.own = b""
        self.given_back = 0
        self.leg = self.packetizer = self.credit = self

    def has_more(self) -> bool:
        return False

    def grant(self, count: int) -> int:
        return count

    def announce(self, count: int) -> None:
        self.given_back += count

    def relay(self, plain: bytearray, count: int, size: int, extended: int | None, *, hold: bool) -> None:
        assert size % 16 == 0 and plain[0] >= 4
        assert size - plain[0] == 10 + count == 10 + int.from_bytes(plain[6:10], "big")
        self.sent += plain[10 : 10 + count]

    def pass_on(self, data: bytes) -> None:
        self.sent += data

    def write(self, data: bytes) -> None:
        self.own += data


def ssh_packet(data: bytes) -> bytearray:
    """A channel data packet as it lies when it was decrypted."""
    padding = 4 + (16 - (10 + len(data) + 4) % 16) % 16
    return bytearray(bytes([padding, 94]) + bytes(4) + struct.pack(">I", len(data)) + data + b"p" * padding)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(WRITES, OTHERS), max_size=8), st.lists(st.integers(0, 3000), max_size=30))
def test_what_is_allowed_goes_on_in_place_and_what_isnt_gives_its_window_back(
    packets: list[bytes], cuts: list[int]
) -> None:
    here, there = End(), End()
    lane = Lane(here, there, Scribe(), FROM_PERSON)  # type: ignore[arg-type]
    stream, at = b"".join(packets), 0
    for cut in [*sorted(cut for cut in cuts if cut <= len(stream)), len(stream)]:
        plain = ssh_packet(stream[at:cut])
        lane.take(plain, cut - at, len(plain))
        at = cut
    assert there.sent == b"".join(p for p in packets if p[8] % 3 == 0)
    assert there.own == b"instead" * sum(p[8] % 3 == 2 for p in packets)
    assert len(there.sent) + here.given_back == len(stream)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_scp_stream_is_followed_or_refused(stream: bytes) -> None:
    with contextlib.suppress(CannotFollow, NotImplementedError):
        ScpSource(_no_file, []).feed(memoryview(stream))


def _no_file(name: bytes, size: int) -> object:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"a", b"/home/r/a"), (b"", b"/home/r"), (b".", b"/home/r"), (b"../x", b"/home/x"), (b"/a//b/", b"/a/b"),
        (b"//etc", b"/etc"), (b"/../..", b"/"), (b"a/./b/../c", b"/home/r/a/c"),
    ],
)  # fmt: skip
def test_a_path_is_made_absolute(path: bytes, expected: bytes) -> None:
    assert absolute(path, b"/home/r") == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a/b", (b"/a", b"b")), (b"/a/b/", (b"/a", b"b")), (b"b", (b".", b"b")), (b"/b", (b"/", b"b")),
        (b"/", (b"/", b"")), (b"..", (b"..", b"")), (b"/a/..", (b"/a/..", b"")), (b"", (b"", b"")),
    ],
)  # fmt: skip
def test_a_path_is_taken_apart(path: bytes, expected: tuple[bytes, bytes]) -> None:
    assert parent_and_name(path) == expected


def test_names_that_differ_are_shown_differently() -> None:
    assert shown(b"a\xff") != shown(b"a\xfe") and shown("é".encode()) == "é"


SCP_TO, SCP_FROM = FileCommand(Tool.SCP, True, True, ("/a",)), FileCommand(Tool.SCP, True, False, ("/a",))
COMMANDS = [
    ("scp -t /a", SCP_TO),
    ("scp -f /a", SCP_FROM),
    ("/usr/bin/scp -p -f -- /a", SCP_FROM),
    ("env LC_ALL=C scp -t /a", SCP_TO),
    ("X=1 scp -t /a", SCP_TO),
    ("sudo -n -u root scp -t /a", SCP_TO),
    ("nice -n 10 ionice -c 3 scp -t /a", SCP_TO),
    ("timeout -k 5 60 scp -t /a", SCP_TO),
    ("scp -r -d -t /a", FileCommand(Tool.SCP, True, True, ("/a",), folder=True)),
    ("scp a b:", FileCommand(Tool.SCP, False, False, ("a", "b:"))),
    ("cd /x && scp -t /a", FileCommand(Tool.SCP, False, True, ("/a",))),
    ("scp -t /a; id", FileCommand(Tool.SCP, False, True, ("/a",))),
    ("scp -t /a\nid", FileCommand(Tool.SCP, False, True, ("/a",))),
    ("sh -c 'scp -t /a'", FileCommand(Tool.SCP, False)),
    ("bash -lc 'exec scp -t /a'", FileCommand(Tool.SCP, False)),
    ("rsync --server -vlogDtpre.iLsfxCIvu . /a /b", FileCommand(Tool.RSYNC, True, True, ("/a", "/b"))),
    ("rsync --server --sender -e.LsfxCIvu . /a", FileCommand(Tool.RSYNC, True, False, ("/a",))),
    ("sudo rsync --server . /a", FileCommand(Tool.RSYNC, True, True, ("/a",))),
    ("rsync -a /a /b", FileCommand(Tool.RSYNC, False)),
    ("/usr/lib/openssh/sftp-server", FileCommand(Tool.SFTP, True)),
    ("sudo /usr/lib/openssh/sftp-server -l INFO", FileCommand(Tool.SFTP, True)),
    ("umask 022; exec /usr/lib/sftp-server", FileCommand(Tool.SFTP, True)),
    ("echo $((1)); sftp-server", FileCommand(Tool.SFTP, True)),
    ("echo scp", None),
    ("man scp", None),
    ("ls /usr/bin/scp", None),
    ("echo 'it isn", None),
    ("", None),
    ("env", None),
    ("sh -c", None),
]


@pytest.mark.parametrize(("command", "expected"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_command_that_moves_files_is_told_from_one_that_doesnt(
    command: str, expected: FileCommand | None
) -> None:
    assert file_command(command) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_command_or_none(command: str) -> None:
    found = file_command(command)
    assert found is None or isinstance(found, FileCommand)


@pytest.mark.parametrize(
    ("command", "counted", "kept"),
    [
        ("scp -t /a", True, True), ("rsync --server . /a", True, False), ("sftp-server", False, False),
        ("cd /a; scp -t .", False, False), ("scp a b:", False, False), ("rsync -a /a b:", False, False),
    ],
)  # fmt: skip
def test_only_what_can_be_seen_passes_where_it_is_counted_or_kept(
    command: str, counted: bool, kept: bool
) -> None:
    found = file_command(command)
    assert found is not None
    assert found.told_apart(FileRules())
    assert found.told_apart(FileRules(max_bytes=9)) is counted
    assert found.told_apart(FileRules(keep_contents=True)) is kept


@pytest.mark.parametrize(
    ("command", "outside"),
    [
        ("scp -t /srv/a", None), ("scp -t /srv", None), ("scp -t /srv/a/", None), ("scp -t /etc", "/etc"),
        ("scp -t /srv/../etc", "/srv/../etc"), ("scp -t srv", "srv"), ("scp -f '/srv/*'", "/srv/*"),
        ("scp -t /srv2", "/srv2"), ("scp -f /srv/a /etc/b", "/etc/b"), ("scp -t", "a command that can't be followed"),
        ("rsync --server -s", "a command that can't be followed"), ("cd /; scp -t /srv", "a command that can't be followed"),
        ("scp -t /", "/"),
        ("rsync --server -vlogDtpre.iLsfxCIvu --delete --bwlimit=5 -B700 . /srv/a", None),
        ("rsync --server --sender -vlogDtpre31.14iLs --numeric-ids . /srv/a", None),
    ],
)  # fmt: skip
def test_a_command_stays_inside_the_roots_or_is_refused(command: str, outside: str | None) -> None:
    found = file_command(command)
    assert found is not None
    assert found.outside(("/srv",)) == outside


@pytest.mark.parametrize(
    "option",
    [
        "--log-file=/root/x", "--log-file /root/x", "--backup-dir /etc", "--backup-dir=../x", "--copy-dest=/etc", "--link-dest=/etc",
        "--temp-dir /etc", "--partial-dir=/etc", "--files-from=/etc/shadow", "--files-from=-", "-s", "-logs", "-T/etc", "-logT /etc",
        "-e", "-M--log-file=/x", "-f._/etc/x", "--write-devices", "--copy-unsafe-links", "--bwlimit", "--bwlimit=/x", "--", "-",
        "--daemon", "--exclude-from=/etc/shadow", "--password-file=/x", "--protect-args", "--secluded-args", "--unheard-of",
    ],
)  # fmt: skip
def test_an_rsync_option_that_may_lead_elsewhere_is_refused_under_roots(option: str) -> None:
    found = file_command(f"rsync --server -logDtpr {option} . /srv/a")
    assert found is not None
    assert "option" in (found.outside(("/srv",)) or ""), found


def test_an_sftp_server_as_a_command_is_never_told_apart_under_roots() -> None:
    for command in ("/usr/lib/openssh/sftp-server", "sh -c 'exec sftp-server'", "id; sftp-server"):
        found = file_command(command)
        assert found is not None
        assert found.told_apart(FileRules()) and not found.told_apart(FileRules(roots=("/srv",)))


def test_scps_folders_are_bounded() -> None:
    source = ScpSource(_no_file, [])
    line = b"D0755 0 " + b"a" * 1000 + b"\n"
    for _ in range(MOST_PATH // 1001):
        source.feed(memoryview(line))
    with pytest.raises(CannotFollow, match="too long"):
        source.feed(memoryview(line))
    shallow = ScpSource(_no_file, [])
    for _ in range(100):  # down and up again
        shallow.feed(memoryview(line + b"E\n"))
