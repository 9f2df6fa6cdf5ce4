"""A program of a user that uses every public name of the library."""

import asyncio
import socket
import ssl
from typing import assert_type

import chainsocks
from chainsocks import (
    DIRECT,
    Address,
    BoundPort,
    Cause,
    Chain,
    ChainDatagramTransport,
    ChainsocksError,
    ChainStream,
    Config,
    ConfigError,
    ConnectError,
    DestinationRefused,
    DestinationRefusedHop,
    DestinationTlsError,
    DialError,
    DialTimeout,
    Family,
    Group,
    Gssapi,
    Hop,
    HopAuthenticationError,
    HopProtocol,
    HopProtocolError,
    HopRefused,
    HopTlsError,
    Isolate,
    LoginRefused,
    NamesOnly,
    Pick,
    Pipeline,
    Protection,
    ProtocolError,
    RequestRefused,
    Resolve,
    ResolverError,
    Route,
    Timeouts,
    Tls,
    TrioStream,
    Udp,
    UDPAssociation,
    UdpFilter,
    UdpRelay,
    UnsupportedAddress,
    UserId,
    UsernamePassword,
)

chain = Chain(
    Hop(
        "a",
        HopProtocol.SOCKS5,
        Address("a", 1),
        UsernamePassword("u", "p"),
        resolve=Resolve.LOCAL,
        tls=Tls(name="b"),
    ),
    Group(
        Hop("b", "socks5", "b:1", isolate=Isolate.SESSION, udp_relay=UdpRelay.HOP, pipeline=Pipeline.OFF),
        Hop("c", "socks5", "c:1", Gssapi(Protection.NONE)),
        Hop("d", "socks4", "d:1", UserId("fred")),
        pick=Pick.RANDOM,
    ),
    names_only=NamesOnly.WARN,
    udp=Udp.REFUSE,
    udp_filter=UdpFilter.ADDRESS,
    family=Family.PREFER_IPV4,
)
limits = Timeouts(dial=5)
context = ssl.create_default_context()


async def connect() -> None:
    try:
        stream = await chainsocks.connect_tcp(
            "a",
            1,
            chain=chain,
            timeout=5,
            timeouts=limits,
            tls=context,
            server_hostname="b",
            local_host="::1",
            isolation="c",
        )
    except (DestinationTlsError, HopTlsError, HopAuthenticationError, HopProtocolError, UnsupportedAddress) as error:
        assert_type(error.cause, Cause)
    except (DestinationRefused, DestinationRefusedHop, HopRefused, ConnectError, DialTimeout, ResolverError) as error:
        assert_type(error.elapsed, float)
    except (LoginRefused, ProtocolError, RequestRefused, ConfigError, DialError, ChainsocksError) as error:
        assert_type(str(error), str)
    else:
        assert_type(stream, ChainStream)
        assert_type(stream.route, Route)
        assert_type(stream.hops, tuple[Hop, ...])
        assert_type(stream.bound, Address)
        await chainsocks.connect_tcp("a", 1, chain=chain, over=stream)
    assert_type(await chainsocks.connect_socket("a", 1, chain=chain), socket.socket)
    assert_type(chainsocks.sync.connect("a", 1, chain=chain, timeout=5), socket.socket)
    assert_type(
        await chainsocks.open_connection("a", 1, chain=chain, tls=True),
        tuple[asyncio.StreamReader, asyncio.StreamWriter],
    )
    assert_type(
        await chainsocks.create_connection(asyncio.Protocol, "a", 1, chain=chain),
        tuple[asyncio.Transport, asyncio.Protocol],
    )
    assert_type(await chainsocks.open_trio_stream("a", 1, chain=chain), TrioStream)
    assert_type(await chainsocks.bind_tcp("a", chain=chain, timeout=5), BoundPort)
    assert_type(await chainsocks.resolve("a", chain=chain, timeout=5), str)
    assert_type(await chainsocks.resolve_ptr("::1", chain=DIRECT), str)


async def datagrams() -> None:
    async with await chainsocks.open_udp(chain=chain, timeout=5, isolation="a") as udp:
        assert_type(udp, UDPAssociation)
        await udp.sendto(b"", "a", 1)
        await udp.send((b"", ("a", 1)))
        assert_type(await udp.receive(), tuple[bytes, tuple[str, int]])
    transport, protocol = await chainsocks.create_datagram_endpoint(
        asyncio.DatagramProtocol, chain=chain, remote_addr=("a", 1)
    )
    assert_type(transport, ChainDatagramTransport)
    assert_type(protocol, asyncio.DatagramProtocol)


async def servers() -> None:
    async with (
        chainsocks.serve(chain, listen=("127.0.0.1", 0), login=("a", "b")) as proxy,
        chainsocks.forward("a", 1, chain=chain) as port,
    ):
        assert_type(proxy, Address)
        assert_type(port, Address)


assert_type(chainsocks.load_config("a.toml"), Config)
assert_type(chainsocks.load_config("a.toml").chains["office"], Chain)
assert_type(Chain.from_env({"ALL_PROXY": "socks5h://a"}, default=DIRECT), Chain)
