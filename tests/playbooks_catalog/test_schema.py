"""What a playbook may not say, and what its author is told: each fault with its line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from breakglass.domain.forwarding import objection
from playbooks.loader import CatalogErrors
from playbooks.schema import PlaybookSpec
from tests.playbooks_catalog.source import GOOD, load_text, problems_of, spoilt

FAULTS = [
    # (what is replaced, by what, line, field, part of the message)
    ("  - hmi-02", "  - hmi-*", 9, "assets[0]", "wildcard"),
    ("  - hmi-02", "  - all", 9, "assets[0]", "whole zone"),
    ("  - hmi-02", "  - 10.0.0.0/24", 9, "assets[0]", "whole zone"),
    ("  - hmi-02", "  - hmi-02,hist-01", 9, "assets[0]", "whole zone"),
    ("  - hmi-02", '  - "hmi-[0-9]"', 9, "assets[0]", "wildcard"),
    ("  - hmi-02", "  - HMI-02", 9, "assets[0]", "lower case"),
    ("  - hmi-02", "  - hmi-02\n  - hmi-02", 8, "assets", "twice"),
    ("assets:\n  - hmi-02", "assets: []", 8, "assets", "empty"),
    ("assets:\n  - hmi-02", "assets: hmi-02", 8, "assets", "must be a list"),
    ("assets:\n  - hmi-02\n", "", 1, "assets", "is missing: add it"),
    ("logins: [operator]", 'logins: ["*"]', 10, "logins[0]", "wildcard"),
    ("logins: [operator]", "logins: [op@home]", 10, "logins[0]", "no login"),
    ("channels: [shell, exec]", "channels: [shell, telnet]", 11, "channels[1]", "'shell', 'exec'"),
    ("channels: [shell, exec]", "channels: [forward]", 11, "channels", "add forward_to"),
    ("channels: [shell, exec]", "channels: [exec]\nforward_to: ['a:1']", 12, "forward_to", "lacks forward"),
    (
        "channels: [shell, exec]",
        "channels: [forward]\nforward_to: ['*:80']",
        12,
        "forward_to[0].host",
        "wildcard",
    ),
    (
        "channels: [shell, exec]",
        "channels: [forward]\nforward_to: ['a:0']",
        12,
        "forward_to[0].port",
        "at least 1",
    ),
    (
        "channels: [shell, exec]",
        "channels: [forward]\nforward_to: ['a:1-9']",
        12,
        "forward_to[0]",
        "one port",
    ),
    ("channels: [shell, exec]", "channels: [exec]\nfiles: {max_bytes: 9}", 12, "files", "lacks sftp"),
    ("channels: [shell, exec]", "channels: [sftp]\nfiles: {roots: [srv]}", 12, "files.roots[0]", "absolute"),
    (
        "channels: [shell, exec]",
        "channels: [sftp]\nfiles: {roots: [/a/../b]}",
        12,
        "files.roots[0]",
        "absolute",
    ),
    ("channels: [shell, exec]", "channels: [sftp]\nfiles: {roots: [/a/]}", 12, "files.roots[0]", "absolute"),
    (
        "channels: [shell, exec]",
        "channels: [sftp]\nfiles: {roots: ['/a*']}",
        12,
        "files.roots[0]",
        "wildcard",
    ),
    (
        "channels: [shell, exec]",
        "channels: [sftp]\nfiles: {max_bytes: 0}",
        12,
        "files.max_bytes",
        "at least 1",
    ),
    (
        "channels: [shell, exec]",
        "channels: [sftp]\nfiles: {root: [/a]}",
        12,
        "files.root",
        "did you mean roots?",
    ),
    ("asset_class: hmi", "asset_class: safety", 6, "asset_class", "B20"),
    ("asset_class: hmi", "asset_class: [hmi, historian]", 6, "asset_class", "must be"),
    ("risk: medium", "risk: critical", 19, "approvers.count", "two approvers"),
    ("risk: medium", "risk: medium\nlapse_minutes: 7", 8, "lapse_minutes", "must rise"),
    ("asset_class: hmi", "asset_class: directory\noverride_allowed: true", 7, "override_allowed", "domain"),
    ("max_minutes: 60", "max_minutes: 241", 14, "duration.max_minutes", "at most 240"),
    ("max_minutes: 60", "max_minutes: 10", 13, "duration.default_minutes", "longer than max_minutes"),
    ("max_minutes: 60", 'max_minutes: "60"', 14, "duration.max_minutes", "whole number"),
    ("max_minutes: 60", "max_minutes: 60.5", 14, "duration.max_minutes", "whole number"),
    ("max_minutes: 60", "max_minutes: .inf", 14, "max_minutes", "put it in quotes"),
    ("starts: approval", "starts: first_use", 16, "clock.starts", "use_within_minutes"),
    (
        "starts: approval",
        "starts: approval\n  use_within_minutes: 9",
        17,
        "clock.use_within_minutes",
        "remove it",
    ),
    ("starts: approval", "starts: tomorrow", 16, "clock.starts", "'approval' or 'first_use'"),
    ("  count: 1", "  count: 0", 19, "approvers.count", "at least 1"),
    ("groups: [ot-leads]", "groups: ['*']", 18, "approvers.groups[0]", "wildcard"),
    ("risk: medium", "risk: medium\nidle_minuts: 5", 8, "idle_minuts", "did you mean idle_minutes?"),
    ("title: Pump station down", "title: 2026-11-21", 3, "title", "quotes"),
    ("title: Pump station down", 'title: "a\\e[2Jb"', 3, "title", "U+001B"),
    ("title: Pump station down", 'title: "a\\u202eb"', 3, "title", "U+202E"),
    ("title: Pump station down", 'title: "  "', 3, "title", "blank"),
    ("title: Pump station down", 'title: "a\\nb"', 3, "title", "one line"),
    ("owner: Water operations", "owner: yes\nactive: true", 6, "active", "isn't a field here"),
    ("slug: pump-down", "slug: Pump_Down", 2, "slug", "lower-case"),
    ("schema_version: 1", "schema_version: 2", 1, "schema_version", "must be 1"),
    ("risk: medium", "risk: medium\nstandards: [NIST PR.AC]", 8, "standards[0]", "no known label"),
    ("risk: medium", "risk: medium\noverride_allowed: 1", 8, "override_allowed", "true or false"),
    ("risk: medium", "risk: medium\nidle_minutes: 0", 8, "idle_minutes", "at least 1"),
    (
        "approvers:\n  groups: [ot-leads]\n  count: 1",
        "approvers: ot-leads",
        17,
        "approvers",
        "group of fields",
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "field", "message"), FAULTS)
def test_each_fault_is_refused_with_its_line_its_field_and_what_to_do(
    tmp_path: Path, old: str, new: str, line: int, field: str, message: str
) -> None:
    found = problems_of(tmp_path, spoilt(old, new))
    assert [(p.line, p.field) for p in found] == [(line, field)]
    assert message in found[0].message
    assert str(found[0]).startswith(f"{tmp_path / 'one.yaml'}:{line}: {field}: ")


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = spoilt("  - hmi-02", "  - any").replace("risk: medium", "risk: huge").replace("owner", "ownr")
    assert {p.field for p in problems_of(tmp_path, text)} == {"owner", "ownr", "risk", "assets[0]"}


def test_the_defaults_are_those_of_the_requirements(tmp_path: Path) -> None:
    spec = load_text(tmp_path, GOOD).spec
    assert (spec.escalate_minutes, spec.override_minutes, spec.lapse_minutes) == (5, 10, 30)
    assert (spec.idle_minutes, spec.review_due_hours) == (10, 24)
    assert spec.requesters.groups == ("responders",)
    assert spec.override_allowed is False
    assert spec.hold_until_expiry is False
    assert spec.template is False


def test_a_spec_survives_the_way_through_json(tmp_path: Path) -> None:
    spec = load_text(tmp_path, GOOD).spec
    assert PlaybookSpec.from_plain(spec.model_dump(mode="json")) == spec


def test_a_loaded_spec_cannot_be_changed(tmp_path: Path) -> None:
    spec = load_text(tmp_path, GOOD).spec
    with pytest.raises(ValueError, match="frozen"):
        spec.slug = "other"
    with pytest.raises(ValueError, match="frozen"):
        spec.duration.max_minutes = 999


def test_a_destination_may_be_an_ipv6_address(tmp_path: Path) -> None:
    text = spoilt("channels: [shell, exec]", "channels: [forward]\nforward_to: ['[::1]:8080', 'hist-01:443']")
    places = load_text(tmp_path, text).spec.forward_to
    assert [(d.host, d.port) for d in places] == [("::1", 8080), ("hist-01", 443)]
    assert str(places[0]) == "[::1]:8080"


LITERALS = (
    "169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "169.254.1.1", "fe80::1", "0.0.0.0", "::",
    "224.0.0.1", "ff02::1", "240.0.0.1", "127.0.0.2", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:808:808:0:0:5601:5601",
    "127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "fd12:3456::1", "64:ff9b::a01:203", "2002:a01:203::1",
)  # fmt: skip


@pytest.mark.parametrize("address", LITERALS)
def test_a_literal_address_is_refused_exactly_where_the_gateway_would_refuse_it(
    tmp_path: Path, address: str
) -> None:
    place = f"[{address}]:80" if ":" in address else f"{address}:80"
    text = spoilt("channels: [shell, exec]", f"channels: [forward]\nforward_to: ['{place}']")
    if not objection(address, named=address):
        assert str(load_text(tmp_path, text).spec.forward_to[0].host) == address
        return
    with pytest.raises(CatalogErrors) as refused:
        load_text(tmp_path, text)
    (problem,) = refused.value.problems
    assert problem.field == "forward_to[0].host"
    assert "nobody is ever led" in problem.message


def test_a_stored_version_that_names_a_barred_address_can_still_be_read(tmp_path: Path) -> None:
    text = spoilt("channels: [shell, exec]", "channels: [forward]\nforward_to: ['10.1.2.3:80']")
    plain = load_text(tmp_path, text).spec.model_dump(mode="json")
    plain["forward_to"][0]["host"] = "169.254.169.254"
    assert PlaybookSpec.from_plain(plain, stored=True).forward_to[0].host == "169.254.169.254"
    with pytest.raises(ValueError, match="nobody is ever led"):
        PlaybookSpec.from_plain(plain)
