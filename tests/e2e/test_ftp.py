"""Active-mode FTP, the program that BIND was made for: the server opens the data connection, to a port at the proxy."""

from __future__ import annotations

import ftplib
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio import EndOfStream

from chainsocks import Chain, bind_tcp
from tests.e2e import servers
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import connected

FILE = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("ftp")
    directory.chmod(0o777)
    (directory / "file").write_bytes(FILE)
    return directory


@pytest.fixture(scope="module")
def ftp(directory: Path) -> Iterator[SocketAddress]:
    with servers.ftp_server(directory) as address:
        yield address


class Control(ftplib.FTP):
    """ftplib's client on a control connection that is there already."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.sock, self.af = sock, sock.family
        self.file = sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        self.login()
        self.voidcmd("TYPE I")

    def announce(self, host: str, port: int) -> None:
        """Tell the server where to connect to: PORT (RFC 959) or EPRT (RFC 2428)."""
        if ":" in host:
            self.sendeprt(host, port)
        else:
            self.sendport(host, port)


async def transfer(front: SocketAddress, scheme: str, server: SocketAddress, command: str, upload: bytes) -> bytes:
    """Have `command` carried out, its data connection coming in through the proxy; return what came down it."""
    host = f"[{front[0]}]" if ":" in front[0] else front[0]
    chain = Chain(f"{scheme}://{host}:{front[1]}")
    run = anyio.to_thread.run_sync
    with anyio.fail_after(PATIENCE), connected(front, server) as sock, await run(Control, sock) as control:
        async with await bind_tcp(server[0], server[1], chain=chain) as bound:
            await run(control.announce, bound.address.host, bound.address.port)
            assert (await run(control.sendcmd, command)).startswith(("125", "150"))
            stream = await bound.accept()
        assert bound.peer is not None
        assert bound.peer.host == server[0]
        async with stream:
            data = b""
            if upload:
                await stream.send(upload)
                await stream.send_eof()
            try:
                while True:
                    data += await stream.receive()
            except EndOfStream:
                pass
        assert (await run(control.voidresp)).startswith("226")
    return data


def check(front: Chainsocks, scheme: str, server: SocketAddress, directory: Path) -> None:
    """Fetch a file and put one there."""
    assert anyio.run(transfer, front.address, scheme, server, "RETR file", b"") == FILE
    assert anyio.run(transfer, front.address, scheme, server, "STOR copy", FILE[::-1]) == b""
    assert (directory / "copy").read_bytes() == FILE[::-1]
    bind = front.wait_for("command=BIND", 2).string
    assert " reply=00 up=2097152 down=0 " in bind
    assert 'outcome="finished"' in bind


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5"])
def test_direct(ftp: SocketAddress, directory: Path, scheme: str) -> None:
    with chainsocks() as front:
        check(front, scheme, ftp, directory)


@pytest.mark.usefixtures("ipv6")
def test_ipv6(ftp: SocketAddress, directory: Path) -> None:
    with chainsocks(listen=["[::1]:0"]) as front:
        check(front, "socks5", ("::1", ftp[1]), directory)


@pytest.mark.parametrize("scheme", ["socks4a", "socks5"])
def test_through_two_hops(own_hops: list[Chainsocks], ftp: SocketAddress, directory: Path, scheme: str) -> None:
    urls = [hop.url.replace("socks5", scheme) for hop in own_hops[:2]]
    with chainsocks(*urls) as front:
        check(front, "socks5", ftp, directory)


@pytest.mark.parametrize("scheme", ["socks4", "socks5"])
def test_dante_is_the_last_hop(
    own_hops: list[Chainsocks], danted: str, ftp: SocketAddress, directory: Path, scheme: str
) -> None:
    with chainsocks(own_hops[0].url, danted.replace("socks5", scheme)) as front:
        check(front, "socks5", ftp, directory)
