"""Tools that run over ssh: rsync, git and Ansible, each over the direct way and through a jump."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway import clients
from tests.gateway.clients import DIRECT, JUMP
from tests.gateway.house import House
from tests.support.needs import requires

WAYS = pytest.mark.parametrize("way", [DIRECT, JUMP])
ANSIBLE = Path(sys.executable).with_name("ansible")


@pytest.fixture(scope="module")
def house(shared_house: House) -> House:
    shared_house.grant(channels=clients.EVERYTHING, forward_to=["127.0.0.1:8080"])
    clients.configure(shared_house)
    return shared_house


def ssh(house: House) -> str:
    return f"ssh -F {house.dir}/ssh_config"


@requires("rsync")
@WAYS
def test_rsync_both_ways_and_again(house: House, way: str) -> None:
    tree, there, back = (house.dir / f"{name}-{way}" for name in ("tree", "there", "back"))
    (tree / "deep").mkdir(parents=True)
    for name, size in {"a": 200_000, "deep/b": 0, "deep/c d": 70_000}.items():
        (tree / name).write_bytes(os.urandom(size))
    for source, target in ((f"{tree}/", f"{way}:{there}/"), (f"{way}:{there}/", f"{back}/")):
        done = clients.run(house, "rsync", "-a", "-e", ssh(house), source, target)
        assert done.returncode == 0, done.stderr
    assert {path.relative_to(back): path.read_bytes() for path in back.rglob("*") if path.is_file()} == {
        path.relative_to(tree): path.read_bytes() for path in tree.rglob("*") if path.is_file()
    }
    (tree / "a").write_bytes(
        (tree / "a").read_bytes()[:100_000] + os.urandom(10) + (tree / "a").read_bytes()[100_000:]
    )
    (tree / "deep" / "b").unlink()
    again = clients.run(house, "rsync", "-a", "--delete", "-e", ssh(house), f"{tree}/", f"{way}:{there}/")
    assert again.returncode == 0, again.stderr
    assert (there / "a").read_bytes() == (tree / "a").read_bytes() and not (there / "deep" / "b").exists()


@requires("git")
@WAYS
def test_git_clones_fetches_and_pushes(house: House, way: str) -> None:
    bare, work = house.dir / f"{way}.git", house.dir / f"work-{way}"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True, timeout=30)

    def git(*words: str) -> str:
        done = clients.run(house, "git", "-c", "user.name=Rita", "-c", "user.email=rita@example.org", *words,
                           GIT_SSH_COMMAND=ssh(house))  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    git("clone", "-q", f"{way}:{bare}", str(work))
    (work / "big").write_bytes(os.urandom(400_000))
    git("-C", str(work), "add", "big")
    git("-C", str(work), "commit", "-q", "-m", "from here")
    git("-C", str(work), "push", "-q", "origin", "HEAD:main")
    pushed = git("-C", str(bare), "rev-parse", "main")
    place = f"rita+hist-01@127.0.0.1:{house.port}" if way == DIRECT else way
    git("clone", "-q", f"ssh://{place}{bare}", str(work) + "-again")
    assert git("-C", str(work) + "-again", "rev-parse", "HEAD") == pushed
    assert "from here" in git("-C", str(work), "ls-remote", "origin") + git("-C", str(bare), "log", "-1")


def ansible(house: House, hosts: str, *ssh_arguments: str, **settings: str) -> bytes:
    """What Ansible's ping answers for these hosts."""
    assert ANSIBLE.exists(), "ansible-core belongs to the tests' requirements"
    home = house.dir / "ansible"
    done = clients.run(
        house, str(ANSIBLE), "-i", f"{hosts},", "all", "-m", "ping", "-e", f"ansible_python_interpreter={sys.executable}",
        HOME=str(home), ANSIBLE_HOME=str(home), ANSIBLE_REMOTE_TEMP=str(home / "remote"), ANSIBLE_NOCOLOR="1",
        ANSIBLE_SSH_ARGS=" ".join(["-F", f"{house.dir}/ssh_config", *ssh_arguments]), timeout=120, **settings,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("pipelining", ["True", "False"])
def test_ansible_pings_over_connections_that_are_open(house: House, pipelining: str) -> None:
    """The way that is documented: one code for each master, then as many plays as one likes."""
    with clients.master(house, DIRECT), clients.master(house, JUMP):
        shared = ("-o", f"ControlPath={house.dir}/cm-%n", "-o", "ControlMaster=no")
        said = ansible(house, f"{DIRECT},{JUMP}", *shared, ANSIBLE_PIPELINING=pipelining)
    assert said.count(b'"ping": "pong"') == 2


def test_ansible_opens_its_own_lasting_connection(house: House) -> None:
    """Ansible turns questions off unless it is told; then its first command asks for the code."""
    persist = f"ControlPath={house.dir}/cp"
    own = ("-o", "ControlMaster=auto", "-o", "ControlPersist=30s", "-o", persist,
           "-o", "KbdInteractiveAuthentication=yes", "-o", "PreferredAuthentications=publickey,keyboard-interactive")  # fmt: skip
    try:
        assert b'"ping": "pong"' in ansible(house, DIRECT, *own)
    finally:
        closed = ["ssh", "-F", f"{house.dir}/ssh_config", "-o", persist, "-O", "exit", DIRECT]
        subprocess.run(closed, capture_output=True, timeout=30, check=False)
