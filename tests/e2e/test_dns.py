"""Listeners for questions of DNS: our server, a resolver, and clients that send to it."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from tests.e2e.programs import PATIENCE, SocketAddress, free_address
from tests.e2e.reloading import reloadable
from tests.e2e.servers import chainsocks
from tests.e2e.targets import serving
from tests.resolvers import framed, respond

DNS = '{ address = "127.0.0.1:0", kind = "dns" }'

BY: dict[str, Callable[..., dns.message.Message]] = {"UDP": dns.query.udp, "TCP": dns.query.tcp}


def resolve(sock: socket.socket) -> None:
    """Answer one question, of whatever name; that of "large." has much to say."""
    asked = dns.message.from_wire(sock.recv(4096)[2:])
    response = respond(asked.to_wire())
    if asked.question[0].name.to_text() == "large.":
        large = dns.message.make_response(asked)
        large.answer.append(dns.rrset.from_text("large.", 60, "IN", "TXT", " ".join(['"' + "x" * 200 + '"'] * 9)))
        response = large.to_wire(max_size=65535)
    sock.sendall(framed(response))


@contextmanager
def resolver() -> Iterator[str]:
    """What a chain says of a resolver."""
    with serving(resolve) as address:
        yield f'resolver = "{address[0]}:{address[1]}"'


def ask(address: SocketAddress, name: str, kind: str = "A", by: str = "UDP", edns: int = -1) -> dns.message.Message:
    """Ask; `edns` is the size of datagrams to tell, or -1."""
    query = dns.message.make_query(name, kind)
    query.use_edns(min(edns, 0), payload=edns)
    return BY[by](query, address[0], timeout=PATIENCE, port=address[1])


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("workers", [1, 2])
def test_questions_go_through_the_chain(by: str, workers: int) -> None:
    """Others have to log in; DNS has no logins."""
    rules = ["[[rules]]", "to = 'bad.example'", "versions = 'dns'", "deny = true"]
    with chainsocks() as hop, resolver() as where:
        users = {"carol": "secret"}
        with chainsocks(hop.url, listen=[DNS], chain=where, tables=rules, users=users, workers=workers) as server:
            [answer] = ask(server.address, "four.example", by=by).answer
            assert str(answer) == "four.example. 60 IN A 192.0.2.4"
            line = server.wait_for("command=RESOLVE destination=four.example:0 ").string
            assert "chain=default rule=- reply=00 up=18 down=46 " in line
            assert 'outcome="answered A: 1 record"' in line
            assert ask(server.address, "none.example", by=by).rcode() == dns.rcode.NXDOMAIN
            assert ask(server.address, "bad.example", by=by).rcode() == dns.rcode.REFUSED
            server.wait_for('destination=bad.example:0 chain=- rule=1 reply=02 .*outcome="rule 1 says no"')
            pointer = "4.2.0.192.in-addr.arpa"
            [answer] = ask(server.address, pointer, "PTR", by).answer
            server.wait_for(r"command=RESOLVE_PTR destination=192\.0\.2\.4:0 .*answered PTR: 1 record")
            hop.wait_for("command=CONNECT ")


def test_what_is_too_large_for_a_datagram() -> None:
    with chainsocks() as hop, resolver() as where, chainsocks(hop.url, listen=[DNS], chain=where) as server:
        asked = partial(ask, server.address, "large", "TXT")
        for edns in (-1, 1232):
            answer = asked(edns=edns)
            assert (answer.flags & dns.flags.TC, answer.answer) == (dns.flags.TC, [])
        assert len(asked(by="TCP").answer[0][0].strings) == 9


def test_a_hop_that_is_gone_is_named() -> None:
    gone = free_address()
    with chainsocks(f"socks5://{gone[0]}:{gone[1]}", listen=[DNS], chain='resolver = "192.0.2.1"') as server:
        assert ask(server.address, "four.example").rcode() == dns.rcode.SERVFAIL
        server.wait_for("command=RESOLVE .*reply=01 .*hop1.*TCP connect: connection refused")


def test_a_chain_without_a_resolver() -> None:
    with chainsocks("socks5://127.0.0.1:1", listen=[DNS]) as server:
        assert ask(server.address, "four.example").rcode() == dns.rcode.REFUSED
        server.wait_for("chain default has no resolver; set its resolver, or tor = true on its last hop")


def test_datagrams_of_another_kind_follow_a_reload(tmp_path: Path) -> None:
    """The UDP socket stays, and what reads it changes."""
    host, port = free_address()
    listener = f'address = "{host}:{port}"'
    with (
        chainsocks(listen=[DNS]) as other,
        reloadable(tmp_path, f'[server]\nlisten = {{ {listener}, kind = "dns" }}') as server,
    ):
        assert ask(server.address, "localhost").answer
        target = f'target = "{other.address[0]}:{other.address[1]}"'
        for _ in range(2):
            server.reload(
                f'[server]\nlisten = {{ {listener}, kind = "tunnel", {target}, udp = true }}\n[timeouts]\ngrace = 0.1'
            )
            assert ask(server.address, "localhost").answer
            server.reload(f'[server]\nlisten = {{ {listener}, kind = "dns" }}\n[timeouts]\ngrace = 0.1')
            assert ask(server.address, "localhost").answer
    assert len(re.findall(r"command=RESOLVE .*answered", other.said)) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_listener_becomes_one_for_dns_and_back(tmp_path: Path, workers: int) -> None:
    host, port = address = free_address()

    def config(kind: str) -> str:
        listener = f'{{ address = "{host}:{port}", kind = "{kind}" }}'
        return f"[server]\nlisten = {listener}\nworkers = {workers}\n[timeouts]\ngrace = 1\n"

    with reloadable(tmp_path, config("socks")) as server:
        assert server.address == address
        for _ in range(2):
            server.reload(config("dns"))
            for by in BY:
                [answer] = ask(address, "localhost", by=by).answer
                assert str(answer) == "localhost. 60 IN A 127.0.0.1"
            server.reload(config("http"))
            with socket.socket(type=socket.SOCK_DGRAM) as probe:
                probe.bind(address)  # it is free again
            with pytest.raises((EOFError, ConnectionError)):
                ask(address, "localhost", by="TCP")
