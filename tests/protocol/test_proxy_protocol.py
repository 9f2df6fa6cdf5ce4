"""Headers of the PROXY protocol: what they tell, in any segmentation, and what no header may be."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chainsocks.protocol.address import Address, AddressType, canonical
from chainsocks.protocol.errors import Cause, ProtocolError
from chainsocks.protocol.proxy_protocol import LOCAL, MAX_V1, UNKNOWN, Ends, HeaderReader, encode_header
from tests.protocol.playbook import wire

BEHIND = b"\x05\x01\x00"
"""What follows a header: a greeting of SOCKS5."""

SIGNATURE = "0D0A0D0A000D0A515549540A"
IPV4 = Ends(Address("192.0.2.1", 51234), Address("198.51.100.9", 1080))
IPV6 = Ends(Address("2001:db8::1", 51234), Address("2001:db8::9", 1080))


@dataclass(frozen=True)
class Read:
    ends: Ends | None
    taken: int


def read(data: bytes, sizes: list[int]) -> Read:
    """Read a header from pieces of `sizes`, repeated; the pieces end with the data."""
    reader, taken, start, turn = HeaderReader(), 0, 0, 0
    while not reader.done:
        piece = data[start : start + sizes[turn % len(sizes)]]
        took = reader.receive_data(piece)
        assert took == len(piece) or reader.done
        start, taken, turn = start + len(piece), taken + took, turn + 1
    return Read(reader.ends, taken)


def as_looked_at(data: bytes) -> Read:
    """Read a header as the server does: look at what the reader wants, and take what it says."""
    reader, taken = HeaderReader(), 0
    while not reader.done:
        assert reader.wanted > 0
        taken += reader.receive_data(data[taken : taken + reader.wanted])
    return Read(reader.ends, taken)


def every_way(data: bytes) -> Read:
    ways = [read(data, [len(data)]), read(data, [1]), read(data, [7, 3]), as_looked_at(data)]
    assert len(set(map(repr, ways))) == 1
    return ways[0]


def line(ends: Ends) -> bytes:
    """Write a header of version 1."""
    source, destination = ends.source, ends.destination
    family = "TCP4" if source.type is AddressType.IPV4 else "TCP6"
    return f"PROXY {family} {source.host} {destination.host} {source.port} {destination.port}\r\n".encode()


HEADERS = [
    pytest.param("'PROXY TCP4 192.0.2.1 198.51.100.9 51234 1080' 0D0A", IPV4, id="1, IPv4"),
    pytest.param("'PROXY TCP6 2001:db8::1 2001:DB8:0::9 51234 1080' 0D0A", IPV6, id="1, IPv6"),
    pytest.param("'PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6409 51234 1080' 0D0A", IPV4, id="1, mapped"),
    pytest.param(
        "'PROXY TCP4 255.255.255.255 0.0.0.0 65535 0' 0D0A",
        Ends(Address("255.255.255.255", 65535), Address("0.0.0.0", 0)),
        id="1, the ends of the ranges",
    ),
    pytest.param("'PROXY UNKNOWN' 0D0A", None, id="1, UNKNOWN"),
    pytest.param("'PROXY UNKNOWN 2001:db8::1 whatever' 0D0A", None, id="1, UNKNOWN with more"),
    pytest.param(f"'PROXY UNKNOWN ' {'7A' * 91} 0D0A", None, id="1, as long as it may be"),
    pytest.param(f"{SIGNATURE} 21 11 000C C0000201 C6336409 C822 0438", IPV4, id="2, IPv4"),
    pytest.param(f"{SIGNATURE} 21 21 0024 20010DB8 00*11 01 20010DB8 00*11 09 C822 0438", IPV6, id="2, IPv6"),
    pytest.param(f"{SIGNATURE} 21 21 0024 00*10 FFFF C0000201 00*10 FFFF C6336409 C822 0438", IPV4, id="2, mapped"),
    pytest.param(f"{SIGNATURE} 21 11 0013 C0000201 C6336409 C822 0438 04 0004 00000000", IPV4, id="2, with a TLV"),
    pytest.param(f"{SIGNATURE} 21 11 000D C0000201 C6336409 C822 0438 FF", IPV4, id="2, with a broken TLV"),
    pytest.param(f"{SIGNATURE} 21 11 FFFF C0000201 C6336409 C822 0438 {'EE' * 65523}", IPV4, id="2, the longest"),
    pytest.param(f"{SIGNATURE} 20 00 0000", None, id="2, LOCAL"),
    pytest.param(f"{SIGNATURE} 20 FF 0003 010203", None, id="2, LOCAL, whatever the family"),
    pytest.param(f"{SIGNATURE} 20 11 000C C0000201 C6336409 C822 0438", None, id="2, LOCAL with addresses"),
    pytest.param(f"{SIGNATURE} 21 00 0000", None, id="2, unspecified"),
    pytest.param(f"{SIGNATURE} 21 12 000C C0000201 C6336409 C822 0438", None, id="2, UDP"),
    pytest.param(f"{SIGNATURE} 21 31 00D8 {'2F' * 216}", None, id="2, a unix socket"),
]


@pytest.mark.parametrize(("header", "ends"), HEADERS)
def test_what_a_header_tells(header: str, ends: Ends | None) -> None:
    data = wire(header)
    for behind in (b"", BEHIND):
        assert every_way(data + behind) == Read(ends, len(data))


@pytest.mark.parametrize("header", [header for header, _ in (each.values for each in HEADERS)])
def test_a_header_is_read_to_its_end(header: str) -> None:
    data = wire(str(header))
    for size in {1, 2, 5, 11, 12, 15, 16, 27, len(data) - 2, len(data) - 1} & {*range(1, len(data))}:
        reader = HeaderReader()
        assert (reader.receive_data(data[:size]), reader.done) == (size, False)
        with pytest.raises(ProtocolError) as caught:
            reader.receive_data(b"")
        assert caught.value.cause is Cause.CLOSED


NO_HEADERS = [
    pytest.param("05 01 00", Cause.SOCKS5, id="SOCKS5"),
    pytest.param("04 01 0050 7F000001 00", Cause.SOCKS4, id="SOCKS4"),
    pytest.param("'GET / HTTP/1.1' 0D0A", Cause.HTTP_REQUEST, id="HTTP"),
    pytest.param("16 03 01 00", Cause.TLS, id="TLS"),
    pytest.param("'PROXYTCP4 '", Cause.NOT_SOCKS, id="1, another word"),
    pytest.param("'proxy TCP4 192.0.2.1 198.51.100.9 51234 1080' 0D0A", Cause.NOT_SOCKS, id="1, small letters"),
    pytest.param("'PROXY' 0D0A", Cause.NOT_SOCKS, id="1, nothing in it"),
    pytest.param("'PROXY ' 0D0A", Cause.MALFORMED, id="1, no family"),
    pytest.param("'PROXY UDP4 192.0.2.1 198.51.100.9 51234 1080' 0D0A", Cause.MALFORMED, id="1, UDP"),
    pytest.param("'PROXY TCP4 192.0.2.1 198.51.100.9 51234' 0D0A", Cause.MALFORMED, id="1, a port is missing"),
    pytest.param("'PROXY TCP4 192.0.2.1 198.51.100.9 51234 1080 ' 0D0A", Cause.MALFORMED, id="1, a blank more"),
    pytest.param("'PROXY  TCP4 192.0.2.1 198.51.100.9 51234 1080' 0D0A", Cause.MALFORMED, id="1, two blanks"),
    pytest.param("'PROXY TCP4 192.0.2.1 198.51.100.9 51234 65536' 0D0A", Cause.MALFORMED, id="1, a port too large"),
    pytest.param("'PROXY TCP4 192.0.2.1 198.51.100.9 051234 1080' 0D0A", Cause.MALFORMED, id="1, a port with a zero"),
    pytest.param("'PROXY TCP4 192.0.2.1 198.51.100.9 +5123 1080' 0D0A", Cause.MALFORMED, id="1, a port with a sign"),
    pytest.param("'PROXY TCP4 192.0.2.01 198.51.100.9 51234 1080' 0D0A", Cause.MALFORMED, id="1, an octet with a zero"),
    pytest.param("'PROXY TCP4 192.0.2 198.51.100.9 51234 1080' 0D0A", Cause.MALFORMED, id="1, three octets"),
    pytest.param("'PROXY TCP4 localhost 198.51.100.9 51234 1080' 0D0A", Cause.MALFORMED, id="1, a name"),
    pytest.param("'PROXY TCP4 2001:db8::1 2001:db8::9 51234 1080' 0D0A", Cause.MALFORMED, id="1, IPv6 as IPv4"),
    pytest.param("'PROXY TCP6 192.0.2.1 198.51.100.9 51234 1080' 0D0A", Cause.MALFORMED, id="1, IPv4 as IPv6"),
    pytest.param("'PROXY TCP6 fe80::1%1 2001:db8::9 51234 1080' 0D0A", Cause.MALFORMED, id="1, a scope"),
    pytest.param("'PROXY TCP4 192.0.2.1 198.51.100.9 51234 1080' 0A 'x'*80", Cause.TOO_LONG, id="1, no CR"),
    pytest.param(f"'PROXY UNKNOWN ' {'7A' * 92} 0D0A", Cause.TOO_LONG, id="1, a byte too long"),
    pytest.param(f"{SIGNATURE} 11 11 000C C0000201 C6336409 C822 0438", Cause.MALFORMED, id="2, another version"),
    pytest.param(f"{SIGNATURE} 22 11 000C C0000201 C6336409 C822 0438", Cause.MALFORMED, id="2, another command"),
    pytest.param(f"{SIGNATURE} 21 41 000C C0000201 C6336409 C822 0438", Cause.MALFORMED, id="2, another family"),
    pytest.param(f"{SIGNATURE} 21 13 000C C0000201 C6336409 C822 0438", Cause.MALFORMED, id="2, another transport"),
    pytest.param(f"{SIGNATURE} 21 11 000B C0000201 C6336409 C822 04", Cause.MALFORMED, id="2, too short"),
    pytest.param(f"{SIGNATURE} 21 21 000C C0000201 C6336409 C822 0438", Cause.MALFORMED, id="2, too short for IPv6"),
    pytest.param("0D0A0D0A000D0A515549540B 21 00 0000", Cause.NOT_SOCKS, id="2, another signature"),
]


@pytest.mark.parametrize(("data", "cause"), NO_HEADERS)
def test_what_is_no_header(data: str, cause: Cause) -> None:
    with pytest.raises(ProtocolError) as caught:
        read(wire(data), [200])
    assert caught.value.cause is cause
    for sizes in ([1], [7, 3]):
        with pytest.raises(ProtocolError):
            read(wire(data), sizes)


def test_the_headers_without_a_client() -> None:
    assert wire(f"{SIGNATURE} 20 00 0000") == LOCAL
    assert wire(f"{SIGNATURE} 21 00 0000") == UNKNOWN


def test_an_end_that_is_a_name() -> None:
    with pytest.raises(ValueError, match="no name"):
        encode_header(Ends(Address("localhost", 1), Address("192.0.2.1", 1)))


PORTS = st.integers(0, 65535)
IPV4S = st.builds(Address, st.ip_addresses(v=4), PORTS)
IPV6S = st.builds(Address, st.ip_addresses(v=6), PORTS)
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=5)


@given(st.tuples(IPV4S, IPV4S) | st.tuples(IPV6S, IPV6S), SIZES, st.binary(max_size=20), st.booleans())
def test_round_trips(pair: tuple[Address, Address], sizes: list[int], behind: bytes, is_line: bool) -> None:  # noqa: FBT001
    ends = Ends(*pair)
    header = line(ends) if is_line else encode_header(ends)
    told = Ends(canonical(ends.source), canonical(ends.destination))
    assert read(header + behind, sizes) == as_looked_at(header + behind) == Read(told, len(header))


@given(IPV4S, IPV6S)
def test_ends_of_two_families(ipv4: Address, ipv6: Address) -> None:
    header = encode_header(Ends(ipv4, ipv6))
    assert header[13:16] == wire("21 0024")
    assert every_way(header).ends == Ends(ipv4, canonical(ipv6))


@example(b"PROXY TCP4 " + b"1" * 4400 + b" 2 3 4\r\n", [1])
@given(
    st.builds(
        lambda header, at, byte, rest: header[:at] + bytes((byte,)) + header[at + 1 :] + rest,
        st.sampled_from([line(IPV4), line(IPV6), encode_header(IPV4), encode_header(IPV6), LOCAL, UNKNOWN]),
        st.integers(0, 60),
        st.integers(0, 255),
        st.binary(max_size=200),
    )
    | st.binary(max_size=300),
    SIZES,
)
def test_whatever_comes(data: bytes, sizes: list[int]) -> None:
    """A header or an error, the same in any segmentation; a reader keeps next to nothing of what it reads."""
    outcomes: list[object] = []
    for pieces in ([len(data) or 1], [1], sizes):
        try:
            outcomes.append(read(data, pieces))
        except ProtocolError as error:
            outcomes.append(error.cause is Cause.CLOSED)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert not isinstance(outcomes[0], Read) or outcomes[0].taken <= max(MAX_V1, 16 + 65535)
