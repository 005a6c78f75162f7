"""Each channel is asked for; what isn't named isn't carried (E14)."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from breakglass.domain.policy import ChannelKind, Destination, Obligations, allows_channel, inside
from breakglass.domain.refusals import RefusalCode
from tests.domain.facts import FIRST, HIST, HOUR, NOON

WEB: Destination = ("127.0.0.1", 8080)
SETS = [
    frozenset(s)
    for s in chain.from_iterable(combinations(ChannelKind, n) for n in range(len(ChannelKind) + 1))
]


def _obliged(channels: frozenset[ChannelKind], *forward_to: Destination) -> Obligations:
    return Obligations(FIRST, HIST, "operator", channels, forward_to, NOON + HOUR, 600)


@pytest.mark.parametrize("channels", SETS, ids=lambda s: "+".join(sorted(s)) or "nothing")
@pytest.mark.parametrize("kind", ChannelKind)
def test_a_channel_opens_only_where_its_kind_is_named(
    kind: ChannelKind, channels: frozenset[ChannelKind]
) -> None:
    found = allows_channel(_obliged(channels, WEB), kind, WEB)
    assert (found is None) is (kind in channels)
    assert found is None or found.code is RefusalCode.CHANNEL_NOT_ALLOWED


@pytest.mark.parametrize(
    "destination", [("127.0.0.1", 8081), ("127.0.0.2", 8080), ("localhost", 8080), ("", 0), None]
)
def test_a_forward_leads_to_the_named_interfaces_only(destination: Destination | None) -> None:
    obliged = _obliged(frozenset({ChannelKind.FORWARD}), WEB)
    assert allows_channel(obliged, ChannelKind.FORWARD, WEB) is None
    found = allows_channel(obliged, ChannelKind.FORWARD, destination)
    assert found is not None
    assert found.code is RefusalCode.FORWARD_NOT_ALLOWED
    assert "127.0.0.1:8080" in found.help


def test_the_refusal_says_what_is_allowed() -> None:
    found = allows_channel(_obliged(frozenset({ChannelKind.SHELL, ChannelKind.EXEC})), ChannelKind.SFTP)
    assert found is not None
    assert "exec, shell" in found.help
    nothing = allows_channel(_obliged(frozenset()), ChannelKind.SHELL)
    assert nothing is not None
    assert "nothing" in nothing.help


@pytest.mark.parametrize(
    ("path", "roots", "expected"),
    [
        ("/srv/backup", ("/srv/backup",), True),
        ("/srv/backup/a/b", ("/srv/backup",), True),
        ("/srv/backup2", ("/srv/backup",), False),
        ("/srv", ("/srv/backup",), False),
        ("/", ("/srv/backup",), False),
        ("/var/tmp/x", ("/srv/backup", "/var/tmp"), True),
        ("/etc/passwd", (), False),
        ("", ("/srv/backup",), False),
    ],
)
def test_a_path_is_inside_a_root_or_outside(path: str, roots: tuple[str, ...], expected: bool) -> None:
    assert inside(path, roots) is expected


def test_a_root_itself_is_not_strictly_inside() -> None:
    assert not inside("/srv/backup", ("/srv/backup",), strictly=True)
    assert inside("/srv/backup/a", ("/srv/backup",), strictly=True)
    assert inside("/srv/backup/a", ("/srv/backup", "/srv/backup/a"), strictly=True)
