"""What a prompt looks like. Nobody tells us: a line on which the cursor waits, and what it ends with."""

from __future__ import annotations

import re
from typing import Final

MOST_PROMPT: Final = 200
_ENDS = re.compile(
    r"(?:"
    r"[$#]|(?<![0-9])%"  # shells; not 50%
    r"|(?<![=\-])>"  # PowerShell, switches, databases; not a progress bar
    r"|[\u276f\u279c\u03bb\u00bb\u203a\u25b6\u27e9\ue0b0\ue0b4\ue0bc]"  # arrows that people choose, powerline
    r"|\((?:gdb|lldb|Pdb|ipdb)\)"
    r"|In \[\d+\]:"
    r") {0,2}\Z"
)
_CONTINUES = re.compile(r"(?:[a-z]{2,12} ?){0,3}> ?\Z|\.\.\. \Z|> \Z|[a-z]+-> \Z|\s*-> \Z")
_SAYS_MORE = re.compile(r"[\w.\-]+@|[~/\\]|:|\]|\)|\w{2,}")
_PLACE = re.compile(r"[\w.\-]+@[\w.\-]+|[~/\[]")


def looks_like(left: str) -> bool:
    """Whether this, with the cursor behind it, is probably a prompt."""
    return len(left) <= MOST_PROMPT and bool(_ENDS.search(left))


def continues(left: str) -> bool:
    """Whether this asks for the rest of a command, as shells do below one that isn't finished."""
    return bool(_CONTINUES.match(left))


def is_telling(prompt: str) -> bool:
    """Whether a prompt says so much that another line is not likely to begin like it: `ops@hist-01:~$ `, not `# `."""
    return len(prompt) >= 4 and bool(_SAYS_MORE.search(prompt))


def is_head(line: str, before: str) -> bool:
    """Whether a line is the upper one of a prompt of two: drawn as such, or a place or person, the same as `before`."""
    return line.startswith(("┌", "╭", "╔")) or (line == before and bool(_PLACE.match(line)))


def program_of(command: str) -> str:
    """The program that a command line runs: `vi` for `EDITOR=x sudo -u root /usr/bin/vi /etc/hosts`."""
    words = iter(command.replace("\n", " ").split())
    takes = False
    for word in words:
        if takes:
            takes = False
        elif word in ("sudo", "doas", "env", "exec", "command", "nice", "time", "nohup", "then", "do", "!"):
            continue
        elif word in ("-u", "-g", "-n", "-C", "-h"):
            takes = True
        elif not word.startswith("-") and not re.match(r"\w+=", word):
            return word.rsplit("/", 1)[-1][:64]
    return command.strip()[:64]
