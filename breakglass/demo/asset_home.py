"""What somebody finds who gets into a demo asset: a shell with a prompt, a log, and a service to mend."""

from __future__ import annotations

from pathlib import Path

RC = """\
PATH=~/bin:$PATH
PS1='\\[\\e[36m\\]${LOGIN}@${HOST}\\[\\e[0m\\]:\\w$ '
[ -n "$BASH_VERSION" ] || PS1="${LOGIN}@${HOST}:\\$ "
alias ll='ls -l'
[ -z "$BASH_VERSION" ] || bind 'set enable-bracketed-paste off'
printf '%s\\n' "" "  $HOST: a pretended machine of the Breakglass demo." "  Try: plantctl status, plantctl restart, tail plant.log, ls" ""
"""

PLANTCTL = """\
#!/bin/sh
# A toy that behaves like a service manager: the state is a file beside the log.
cd "$(dirname "$0")/.." || exit 1
state=$(cat state 2>/dev/null || echo degraded)
stamp() { date -u '+%Y-%m-%dT%H:%M:%SZ'; }
case "$1" in
    status)
        echo "$HOST plant service: $state"
        [ "$state" = running ] || { echo "  collector: not writing (disk queue full)"; exit 3; } ;;
    restart)
        echo "stopping the collector ..."; sleep 0.3
        echo "clearing the disk queue ... 1842 events kept"; sleep 0.3
        echo "starting the collector ... done"
        echo running > state; echo "$(stamp) collector restarted by $LOGIN" >> plant.log ;;
    fail)
        echo degraded > state; echo "$(stamp) collector stopped writing: disk queue full" >> plant.log ;;
    *)
        echo "usage: plantctl status | restart | fail" >&2; exit 2 ;;
esac
"""

LOG = """\
2026-05-04T02:10:03Z collector started, 412 tags
2026-05-04T02:40:12Z disk queue at 80 percent
2026-05-04T02:51:47Z disk queue at 95 percent
2026-05-04T02:55:01Z collector stopped writing: disk queue full
2026-05-04T02:55:31Z trend server: no data for 412 tags since 02:55:01
"""


def furnish(home: Path, name: str) -> None:
    """Makes the home folder of asset `name` once; what people leave there stays."""
    if (home / ".rc").exists():
        return
    (home / "bin").mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / ".rc").write_text(RC)
    (home / "plant.log").write_text(LOG)
    (home / "README").write_text(f"{name} is invented. Break it as you like.\n")
    tool = home / "bin" / "plantctl"
    tool.write_text(PLANTCTL)
    tool.chmod(0o755)
