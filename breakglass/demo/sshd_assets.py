"""DEMO_ASSETS=sshd: the demo's assets as real OpenSSH servers.

Each runs in namespaces of its own with its own list of accounts, so the machine's accounts stay as they are and
whatever a session leaves running ends with the server. That takes Linux and root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from breakglass.demo.cast import Way
from breakglass.demo.place import DemoStopped, Place, here, write_private

if TYPE_CHECKING:
    from breakglass.demo.asset_book import AssetBook, AssetFiles

SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
NAMESPACES = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {dir}/host_key
PidFile none
AuthorizedKeysFile {dir}/authorized_keys
{trust}
PasswordAuthentication {password}
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
MaxStartups 200
MaxSessions 50
PrintMotd no
PrintLastLog no
UseDNS no
SetEnv HOST={name} PATH={dir}/home/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
Subsystem sftp internal-sftp
AllowTcpForwarding yes
"""


def processes(place: Place, book: AssetBook) -> Sequence[tuple[str, list[str], Path]]:
    """One sshd for each asset, as (name, command, log)."""
    _check()
    return [
        (
            f"sshd of {asset.machine.name}",
            [
                "unshare",
                *NAMESPACES,
                sys.executable,
                "-m",
                "breakglass.demo.sshd_assets",
                str(place.dir),
                asset.machine.name,
            ],
            place.logs / f"{asset.machine.name}.log",
        )
        for asset in book.assets
    ]


def shadow_hash(password: str) -> str:
    """The password as /etc/shadow keeps it, or "" where openssl is missing: only sshd needs it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return ""
    command = [openssl, "passwd", "-6", "-stdin"]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()


def _check() -> None:
    if sys.platform != "linux" or os.getuid() != 0:
        raise DemoStopped(
            "DEMO_ASSETS=sshd needs Linux and root, for sshd logs people in to accounts.\n"
            "Without DEMO_ASSETS the demo brings machines of its own and needs neither."
        )
    missing = [
        package
        for program, package in (
            ("sshd", "openssh-server"),
            ("unshare", "util-linux"),
            ("openssl", "openssl"),
        )
        if not _find(program)
    ]
    if missing:
        raise DemoStopped(f"DEMO_ASSETS=sshd needs more:  sudo apt-get install {' '.join(missing)}")


def _find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=SBIN)


def become_sshd(asset: AssetFiles) -> None:
    """Inside the namespaces: gives them the asset's accounts and turns into its sshd."""
    accounts = [f"{login}:x:0:0:demo:{asset.home}:/bin/bash" for login in asset.machine.logins]
    secret = asset.shadow_file.read_text().strip() if asset.shadow_file.exists() else "*"
    shadows = [f"{login}:{secret}:19000:0:99999:7:::" for login in asset.machine.logins]
    for path, lines in (("/etc/passwd", accounts), ("/etc/shadow", shadows)):
        own = asset.dir / Path(path).name
        write_private(own, "\n".join(lines) + "\n" + Path(path).read_text())
        own.chmod(0o644 if path == "/etc/passwd" else 0o600)
        subprocess.run(["mount", "--bind", str(own), path], check=True)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    trust = f"TrustedUserCAKeys {asset.ca_file}" if asset.machine.way is Way.CERTIFICATE else ""
    config = asset.dir / "sshd_config"
    password = "yes" if asset.machine.way is Way.PASSWORD else "no"
    text = CONFIG.format(
        port=asset.port, dir=asset.dir, trust=trust, password=password, name=asset.machine.name
    )
    write_private(config, text)
    (asset.home / ".bash_profile").write_text(f"export HOST={asset.machine.name} LOGIN=$USER\n. ~/.rc\n")
    sshd = _find("sshd")
    assert sshd
    os.execv(sshd, [sshd, "-D", "-e", "-f", str(config)])


def main() -> None:
    from breakglass.demo.asset_book import AssetBook

    folder, name = sys.argv[1:]
    book = AssetBook.running(here(os.environ | {"DEMO_DIR": folder}))
    become_sshd(next(asset for asset in book.assets if asset.machine.name == name))


if __name__ == "__main__":
    main()
