"""Commands that move files: the far side of scp, rsync and sftp, told apart from what merely looks like it. Pure.

A command is a text for the asset's shell, and what a shell makes of it can't be told in general. So a transfer is
followed only where the text is one plain command; where roots bound the files, anything else that moves files is refused.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from enum import StrEnum

from breakglass.domain.policy import FileRules, inside

MOST_DEPTH = 4
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
NEVER_PLAIN = frozenset("$`\\\"'*?[]{}()<>|&;#~!\n\r\t\0")
SEPARATORS = frozenset("();|&")
SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})
# Programs that run the program named after their own options; the options that take a word of their own.
RUNNERS: dict[str, frozenset[str]] = {
    "env": frozenset({"-u", "-C", "--unset", "--chdir"}),
    "sudo": frozenset({"-u", "-g", "-h", "-p", "-C", "-r", "-t", "-T", "-U", "-D", "-R"}),
    "doas": frozenset({"-u", "-C"}),
    "nice": frozenset({"-n"}),
    "ionice": frozenset({"-c", "-n", "-p", "-P", "-u"}),
    "timeout": frozenset({"-k", "-s"}),
    "stdbuf": frozenset({"-i", "-o", "-e"}),
    "chroot": frozenset(),
    "busybox": frozenset(),
    "nohup": frozenset(),
    "setsid": frozenset(),
    "exec": frozenset({"-a"}),
    "command": frozenset(),
    "builtin": frozenset(),
    "time": frozenset({"-f", "-o"}),
    "then": frozenset(),
    "do": frozenset(),
    "else": frozenset(),
    "!": frozenset(),
}
ARGUMENTS_FIRST = {"timeout": 1, "chroot": 1}
"""How many words of their own stand before the program."""
# What rsync's own client tells the far side, without anything that names a file or takes the names out of the stream
# (-s): --log-file, --backup-dir, --temp-dir, --compare-dest, --files-from and their like lead anywhere.
RSYNC_SHORT = re.compile(
    r"-(?=.)[vqnlLkKWHogDtUNOJpEAXrcCIRxSzumdybihP]*(?:e[\d.][\w.]*)?|-B\d+|-@-?\d+", re.ASCII
)
RSYNC_PLAIN = frozenset({
    "server", "sender", "delete", "delete-before", "delete-during", "delete-after", "delete-delay",
    "delete-excluded", "delete-missing-args", "ignore-missing-args", "ignore-errors", "force",
    "size-only", "existing", "ignore-existing", "ignore-non-existing", "inplace", "append",
    "append-verify", "partial", "numeric-ids", "safe-links", "munge-links", "no-implied-dirs",
    "no-relative", "no-r", "no-i-r", "no-inc-recursive", "inc-recursive", "fsync", "preallocate",
    "delay-updates", "mkpath", "open-noatime", "stats", "new-compress", "old-compress", "super",
    "no-super", "fake-super", "remove-source-files", "remove-sent-files", "specials", "no-specials",
    "devices", "no-devices", "dirs", "list-only", "one-file-system", "use-qsort",
})  # fmt: skip
RSYNC_VALUED = frozenset({
    "bwlimit", "timeout", "max-delete", "max-size", "min-size", "max-alloc", "checksum-choice",
    "compress-choice", "compress-level", "checksum-seed", "log-format", "out-format", "usermap",
    "groupmap", "iconv", "block-size", "protocol", "modify-window", "debug", "info",
})  # fmt: skip
RSYNC_VALUE = re.compile(r"[\w.,:%*@+-]*", re.ASCII)


class Tool(StrEnum):
    SCP = "scp"
    RSYNC = "rsync"
    SFTP = "sftp-server"


@dataclass(frozen=True)
class FileCommand:
    """A command that moves files. `followed`: it is the far side of a transfer, as one plain command."""

    tool: Tool
    followed: bool
    to_asset: bool = False
    paths: tuple[str, ...] = ()
    folder: bool = False
    """scp towards the asset: the path is a folder for sure."""
    strange: str = ""
    """rsync: an option that isn't known to leave all other files alone."""

    def told_apart(self, rules: FileRules) -> bool:
        """Whether all that the rules want bounded, counted and kept can be seen in its stream."""
        if self.tool is Tool.SFTP:
            # Whatever runs under that name may say one thing and do another; the subsystem is the asset's own.
            return not rules.roots and rules.max_bytes is None and not rules.keep_contents
        if self.tool is Tool.RSYNC and rules.keep_contents:
            return False
        return self.followed or (rules.max_bytes is None and not rules.keep_contents)

    def outside(self, roots: tuple[str, ...]) -> str | None:
        """What of it can't be shown to stay inside the roots, or None. Links on the asset aren't looked through."""
        if self.tool is Tool.SFTP:
            return None  # never told apart where there are roots
        if not self.followed or not self.paths:
            return "a command that can't be followed"
        if self.strange:
            return f"what the option {self.strange} may name"
        for path in self.paths:
            steps = path.rstrip("/").split("/")
            plain = not NEVER_PLAIN & set(path) and steps[0] == "" and not {".", "..", ""} & set(steps[1:])
            if not plain or not inside(path.rstrip("/"), roots):
                return path
        return None


def file_command(command: str, depth: int = 0) -> FileCommand | None:
    """What the command is, where one of its programs is scp, rsync or sftp-server; None for any other."""
    try:
        lexer = shlex.shlex(command.replace("\n", " ; "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = ""
        words = list(lexer)
    except ValueError:
        words = command.split()
    simple = [*_simple_commands(words)]
    for one in simple:
        program = _program(one)
        if not program:
            continue
        name = program[0].rsplit("/", 1)[-1]
        if name in SHELLS and depth < MOST_DEPTH:
            inner = _after_c(program)
            found = file_command(inner, depth + 1) if inner is not None else None
            if found is not None:
                return found if found.tool is Tool.SFTP else FileCommand(found.tool, followed=False)
        if name in set(Tool):
            plain = len(simple) == 1 and depth == 0
            return _arguments(Tool(name), program[1:], plain)
    return None


def _simple_commands(words: list[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for word in words:
        if word and SEPARATORS.issuperset(word):  # `));` is one word to shlex
            found.append([])
        else:
            found[-1].append(word)
    return [one for one in found if one]


def _program(words: list[str]) -> list[str]:
    """The words from the program on that is run in the end: without assignments and the programs that run others."""
    at = 0
    while at < len(words):
        word = words[at]
        if ASSIGNMENT.match(word):
            at += 1
            continue
        name = word.rsplit("/", 1)[-1]
        if name not in RUNNERS:
            return words[at:]
        own = ARGUMENTS_FIRST.get(name, 0)
        at += 1
        while at < len(words) and words[at].startswith("-"):
            at += 2 if words[at] in RUNNERS[name] else 1
        while own and at < len(words):
            at, own = at + 1, own - 1
    return []


def _after_c(words: list[str]) -> str | None:
    """What `sh -c` is to run."""
    for at, word in enumerate(words[1:-1], 1):
        if word.startswith("-") and not word.startswith("--") and word.endswith("c"):
            return words[at + 1]
    return None


def _arguments(tool: Tool, words: list[str], plain: bool) -> FileCommand:
    if tool is Tool.SFTP:
        return FileCommand(tool, followed=True)
    if tool is Tool.SCP:
        return _scp(words, plain)
    return _rsync(words, plain)


def _scp(words: list[str], plain: bool) -> FileCommand:
    flags, paths = "", []
    for at, word in enumerate(words):
        if word == "--":
            paths += words[at + 1 :]
            break
        if word.startswith("-"):
            flags += word[1:]
        else:
            paths.append(word)
    to_asset = "t" in flags
    followed = plain and to_asset != ("f" in flags)
    return FileCommand(Tool.SCP, followed, to_asset, tuple(paths), folder="d" in flags)


def _rsync(words: list[str], plain: bool) -> FileCommand:
    if not words or words[0] != "--server":
        return FileCommand(Tool.RSYNC, followed=False)
    # rsync --server [--sender] OPTIONS... . PATH...; with -s the paths come inside the stream.
    place = words.index(".") if "." in words else len(words)
    paths = tuple(words[place + 1 :])
    strange = next((word for word in words[:place] if not _harmless(word)), "")
    return FileCommand(
        Tool.RSYNC, plain, to_asset="--sender" not in words[:place], paths=paths, strange=strange
    )


def _harmless(option: str) -> bool:
    """Whether rsync's option names no file and changes nothing about which names follow."""
    name, equals, value = option.removeprefix("--").partition("=")
    if not option.startswith("--"):
        return RSYNC_SHORT.fullmatch(option) is not None
    return (
        name in RSYNC_VALUED and RSYNC_VALUE.fullmatch(value) is not None if equals else name in RSYNC_PLAIN
    )
