"""A runbook's planned commands beside the ones that were run: what counts as one, what matches, what is only a flag."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from playbooks.loader import load_catalog
from sessions.planned import Comparison, Run, compare, normal, parts, steps_of

S = uuid4()
RUNBOOK = """
The archive `mv a b` lives in prose: no step.

## Steps

1. Look first: `uptime`, then `df -h`. The login is `operator`, the file `*.arc`.
2. Restart it: `sudo systemctl restart <service>` as `histadmin`. Never `kill -9 1`.
   - Copy it: `cp ... /srv/backup`
3. `ssh ... date -u` and `ssh -L 8080:127.0.0.1:8080 ...`

```
$ journalctl -u historian
# a comment... `df -h`
```

| `table cell` | good |
|---|---|
"""


def _commands(text: str = RUNBOOK) -> list[str]:
    return [step.command for step in steps_of(text, ["operator", "histadmin"])]


def _compared(*commands: str, text: str = RUNBOOK) -> Comparison:
    runs = [Run(S, "S-1", float(at), command) for at, command in enumerate(commands)]
    return compare(steps_of(text), runs)


def test_commands_are_code_in_lists_and_blocks_but_not_what_is_forbidden() -> None:
    assert _commands() == [
        "uptime", "df -h", "sudo systemctl restart <service>", "cp ... /srv/backup", "date -u",
        "journalctl -u historian",
    ]  # fmt: skip


def test_they_know_their_section_and_are_numbered_once_each() -> None:
    steps = steps_of("## Before\n- `df -h`\n\n## After\n- again `df  -h`, `free -m`\n")
    assert [(step.number, step.section, step.command) for step in steps] == [
        (1, "Before", "df -h"), (2, "After", "free -m"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "no code", "- `x`\n- `historian`\n", "- `/var/log`", "- `-x y`", "- ``"]
)
def test_a_runbook_without_commands_has_no_steps(text: str) -> None:
    assert steps_of(text) == []


def test_done_not_seen_and_not_in_the_runbook() -> None:
    found = _compared("uptime", "rm -rf /srv/old", "sudo  systemctl restart historian ")
    assert [(row.step.command, row.done) for row in found.steps][:3] == [
        ("uptime", True), ("df -h", False), ("sudo systemctl restart <service>", True),
    ]  # fmt: skip
    assert [run.command for run in found.others] == ["rm -rf /srv/old"]
    assert found.seen == 2
    assert found.steps[0].runs[0].at == 0


@pytest.mark.parametrize(
    ("command", "planned"),
    [
        ("df -h", True),
        ("  df   -h ;", True),
        ("sudo -n df -h", True),
        ("df -h | grep spool | head -3", True),
        ("uptime && df -h", True),
        ("systemctl restart any.service", True),
        ("cp -a /srv/x /srv/y /srv/backup", True),
        # Any part that isn't planned flags the line.
        ("uptime; rm -rf /", False),
        ("uptime & rm -rf /", False),
        ("df -h\nrm -rf /", False),
        ("df -h | sh", False),
        ("df -h | grep x > /etc/passwd", False),
        ("df -h | grep $(reboot)", False),
        ("df -h > /etc/passwd", False),
        ("df -hi", False),
        ("DF -h", False),
        # A placeholder is one plain word, and dots are plain words: nothing hides in them.
        ("systemctl restart a b", False),
        ("systemctl restart $(rm${IFS}-rf)", False),
        ("systemctl restart a;reboot", False),
        ("cp `reboot` /srv/backup", False),
        ("cp x > y /srv/backup", False),
        ("", False),
        ("echo 'df -h; uptime'", False),
    ],
)
def test_what_matches_a_step(command: str, planned: bool) -> None:
    assert [run.planned for run in _compared(command).runs] == [planned]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a; b && c || d", ["a", "b", "c", "d"]),
        ("echo 'a; b' \"c && d\"", ["echo 'a; b' \"c && d\""]),
        ("a 2>&1; b &> c", ["a 2>&1", "b &> c"]),
        ("a\\; b", ["a\\; b"]),
        (";;", []),
    ],
)
def test_a_line_falls_into_its_commands(line: str, expected: list[str]) -> None:
    assert parts(line) == expected


def test_a_prompt_and_quotes_around_all_of_it_dont_count() -> None:
    assert normal(" $ 'df  -h' ") == "df -h"
    assert normal("# systemctl stop x") == "systemctl stop x"


@pytest.mark.parametrize(
    "text", ["- `" + "a " * 40_000 + "`", "`" * 9000, "- " * 9000, "\x1b[31m- `a b`\x00", "- `(a+)+ b`"]
)
def test_hostile_runbooks_and_commands_do_nothing(text: str) -> None:
    found = _compared("a " * 50_000, "\x1b]52;c;x\x07", "(a+)+ " * 300, "'" * 4000, text=text)
    assert isinstance(found, Comparison)


def test_the_house_s_own_runbooks_have_steps() -> None:
    catalog = Path(__file__).parents[2] / "playbooks/catalog"
    found = {one.spec.slug: [step.command for step in steps_of(one.spec.runbook, [*one.spec.logins, *one.spec.assets])]
             for one in load_catalog(catalog)}  # fmt: skip
    assert found["historian-down"][:2] == ["uptime", "df -h"]
    assert "systemctl restart historian" in found["historian-down"]
    assert not {"histadmin", "operator"} & {command for commands in found.values() for command in commands}


def test_a_run_knows_its_session_and_its_second() -> None:
    found = compare(steps_of("- `df -h`"), [Run(UUID(int=1), "S-7", 4.5, "df -h", exit_status=1)])
    (run,) = found.steps[0].runs
    assert (run.label, run.at, run.exit_status) == ("S-7", 4.5, 1)
