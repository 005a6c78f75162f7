"""Programs' own ssh: AsyncSSH and libssh by key and code, libssh2 by a connect code (paramiko's is in test_clients.py)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess

import asyncssh
import pytest

from breakglass import clock
from breakglass.models import Grant
from breakglass.services import connect_codes
from tests.gateway import clients
from tests.gateway.house import House
from tests.support.needs import requires

DATA = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def house(shared_house: House, page: int) -> House:
    shared_house.grant(channels=clients.EVERYTHING, forward_to=[f"127.0.0.1:{page}"])
    clients.configure(shared_house)
    return shared_house


# AsyncSSH -------------------------------------------------------------------------------------------------


class Rita(asyncssh.SSHClient):
    """Answers the one question."""

    code = ""

    def kbdint_auth_requested(self) -> str:
        return ""

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: object
    ) -> list[str]:
        return [self.code]


async def with_asyncssh(house: House, page: int, user: str, code: str) -> None:
    Rita.code = code
    options = {
        "client_keys": [str(house.rita.key)], "known_hosts": str(house.dir / "known_hosts"), "agent_path": None,
        "config": [], "login_timeout": 30,
    }  # fmt: skip
    async with asyncssh.connect(
        "127.0.0.1", house.port, username=user, client_factory=Rita, **options
    ) as outer:
        if user == "rita":
            async with outer.connect_ssh("hist-01", 22, username=house.sshd.login, **options) as inner:
                await use(house, page, inner)
        else:
            await use(house, page, outer)


async def use(house: House, page: int, connection: asyncssh.SSHClientConnection) -> None:
    done = await connection.run("cat; echo bad >&2; exit 7", input=DATA, encoding=None)
    assert (done.stdout, done.stderr, done.exit_status) == (DATA, b"bad\n", 7)
    many = await asyncio.gather(*(connection.run(f"echo {n}; exit {n}") for n in range(6)))
    assert [one.exit_status for one in many] == list(range(6))
    async with connection.start_sftp_client() as files:
        here, there, back = (house.dir / name for name in ("as-here", "as-there", "as-back"))
        here.write_bytes(DATA)
        await files.put(str(here), str(there))
        await files.get(str(there), str(back))
        assert there.read_bytes() == back.read_bytes() == DATA
    reader, writer = await connection.open_connection("127.0.0.1", page)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert b"status: fine" in await reader.read()
    with pytest.raises(asyncssh.ChannelOpenError, match="forward_not_allowed"):
        await connection.open_connection("127.0.0.1", house.sshd.port)


@pytest.mark.parametrize("user", ["rita+hist-01", "rita"])
def test_asyncssh_direct_and_by_its_own_tunnel(house: House, page: int, user: str) -> None:
    asyncio.run(asyncio.wait_for(with_asyncssh(house, page, user, house.rita.code()), 60))


# libssh2, by curl: it can't follow a key by a question, so it takes a connect code as its password ----------------


@requires("curl")
def test_curl_gets_and_puts_with_a_connect_code(house: House) -> None:
    home, known = house.dir / "curl-home", (house.dir / "known_hosts").read_bytes()
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "known_hosts").write_bytes(known)
    here, there = clients.some_file(house, "curl-here"), house.dir / "curl-there"

    def curl(*words: str) -> subprocess.CompletedProcess[bytes]:
        issued = connect_codes.issue(
            house.rita.person, Grant.objects.get().pk, house.rita.code(), clock.now()
        )
        who = f"rita+hist-01:{issued.code}"
        return clients.run(house, "curl", "-sS", "--max-time", "50", "-u", who, *words, HOME=str(home))

    done = curl("-T", str(here), f"sftp://127.0.0.1:{house.port}{there}")
    assert done.returncode == 0, done.stderr
    assert there.read_bytes() == here.read_bytes()
    for scheme in ("sftp", "scp"):
        done = curl(f"{scheme}://127.0.0.1:{house.port}{there}")
        assert done.returncode == 0 and done.stdout == here.read_bytes(), done.stderr
    (home / ".ssh" / "known_hosts").write_bytes(known.replace(b"AAAAI", b"AAAAJ"))
    assert curl(f"sftp://127.0.0.1:{house.port}{there}").returncode == 60


# libssh, which KDE, curl on some systems, Ansible's network modules and others use ---------------------------

PARTIAL, ASKED, PERMITTED = 2, 3, 0
HOST, PORT, USER, KNOWN_HOSTS = 0, 1, 4, 8
READ, WRITE = os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@pytest.fixture
def lib() -> ctypes.CDLL:
    """The library itself: its Python bindings aren't packaged."""
    library = ctypes.CDLL("libssh.so.4")
    for name in (
        "ssh_new", "ssh_channel_new", "sftp_new", "sftp_open", "ssh_userauth_publickey", "ssh_get_error",
    ):  # fmt: skip
        getattr(library, name).restype = ctypes.c_void_p
    library.ssh_userauth_publickey.restype = ctypes.c_int
    library.ssh_get_error.restype = ctypes.c_char_p
    library.sftp_read.restype = library.sftp_write.restype = ctypes.c_ssize_t
    return library


def log_in(lib: ctypes.CDLL, house: House) -> ctypes.c_void_p:
    """A session that proved the key and answered the question."""
    session = ctypes.c_void_p(lib.ssh_new())
    port, key = ctypes.c_uint(house.port), ctypes.c_void_p()
    lib.ssh_options_set(session, HOST, b"127.0.0.1")
    lib.ssh_options_set(session, PORT, ctypes.byref(port))
    lib.ssh_options_set(session, USER, b"rita+hist-01")
    lib.ssh_options_set(session, KNOWN_HOSTS, str(house.dir / "known_hosts").encode())
    assert lib.ssh_connect(session) == 0, lib.ssh_get_error(session)
    assert lib.ssh_session_is_known_server(session) == 1
    assert (
        lib.ssh_pki_import_privkey_file(str(house.rita.key).encode(), None, None, None, ctypes.byref(key))
        == 0
    )
    assert lib.ssh_userauth_publickey(session, None, key) == PARTIAL
    assert lib.ssh_userauth_kbdint(session, None, None) == ASKED
    assert lib.ssh_userauth_kbdint_setanswer(session, 0, house.rita.code().encode()) == 0
    assert lib.ssh_userauth_kbdint(session, None, None) == PERMITTED
    lib.ssh_key_free(key)
    return session


@requires("libssh")
def test_libssh_runs_a_command_and_moves_files(house: House, lib: ctypes.CDLL) -> None:
    session = log_in(lib, house)
    channel = ctypes.c_void_p(lib.ssh_channel_new(session))
    assert lib.ssh_channel_open_session(channel) == 0
    assert lib.ssh_channel_request_exec(channel, b"echo out; exit 7") == 0
    buffer = ctypes.create_string_buffer(1000)
    assert lib.ssh_channel_read(channel, buffer, 1000, 0) == 4 and buffer.value == b"out\n"
    assert lib.ssh_channel_read(channel, buffer, 1000, 0) == 0
    assert lib.ssh_channel_get_exit_status(channel) == 7
    lib.ssh_channel_free(channel)

    files, there = ctypes.c_void_p(lib.sftp_new(session)), house.dir / "libssh-there"
    assert lib.sftp_init(files) == 0, lib.ssh_get_error(session)
    file = ctypes.c_void_p(lib.sftp_open(files, str(there).encode(), WRITE, 0o600))
    assert lib.sftp_write(file, DATA[:30_000], 30_000) == 30_000
    assert lib.sftp_close(file) == 0
    assert there.read_bytes() == DATA[:30_000]
    file = ctypes.c_void_p(lib.sftp_open(files, str(there).encode(), READ, 0))
    got = ctypes.create_string_buffer(30_000)
    assert lib.sftp_read(file, got, 30_000) == 30_000 and got.raw == DATA[:30_000]
    assert lib.sftp_close(file) == 0
    lib.sftp_free(files)
    lib.ssh_disconnect(session)
    lib.ssh_free(session)
