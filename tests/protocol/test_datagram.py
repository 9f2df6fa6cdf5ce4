"""The header of a datagram (RFC 1928 section 7): three ways to get it, and whatever else may arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.datagram import Header, Nesting, clear_reserved, decode_header, encode_header, header_size
from chainsocks.protocol.errors import ProtocolError
from tests.protocol.drawing import addresses, conversations, fuzz
from tests.protocol.playbook import wire

HEADERS = {
    "ipv4": ("0000 00 01 C0000201 0035", Header(Address("192.0.2.1", 53))),
    "ipv6": ("0000 00 04 20010DB8 00*11 01 0035", Header(Address("2001:db8::1", 53))),
    "name": ("0000 00 03 0B 'example.org' 0035", Header(Address("example.org", 53))),
    "a name of one byte": ("0000 00 03 01 'a' FFFF", Header(Address("a", 65535))),
    "the longest name": ("0000 00 03 FF 'n'*255 0000", Header(Address("n" * 255, 0))),
    "not UTF-8": ("0000 00 03 02 FFFE 0035", Header(Address("\udcff\udcfe", 53))),
    "a fragment": ("0000 01 01 C0000201 0035", Header(Address("192.0.2.1", 53), 1)),
    "the last fragment": ("0000 82 01 C0000201 0035", Header(Address("192.0.2.1", 53), 0x82)),
}
headers = pytest.mark.parametrize(("said", "header"), HEADERS.values(), ids=HEADERS.keys())


@headers
def test_whole(said: str, header: Header) -> None:
    data = wire(said)
    assert header_size(data) == len(data)
    assert decode_header(data) == header


@headers
def test_byte_by_byte_there_is_no_header_before_its_last_byte(said: str, header: Header) -> None:
    data = wire(said)
    for size in range(len(data)):
        for read in (header_size, decode_header):
            with pytest.raises(ProtocolError):
                read(data[:size])


@headers
def test_a_payload_may_follow(said: str, header: Header) -> None:
    data = wire(said)
    assert header_size(data + b"payload") == len(data)
    assert decode_header(data + b"payload") == header


@headers
def test_a_header_is_written_as_it_is_read(said: str, header: Header) -> None:
    if not header.fragment:
        assert encode_header(header.address) == wire(said)


@pytest.mark.parametrize("reserved", ["0001", "0100", "FFFF"])
def test_the_reserved_bytes_are_ignored_and_cleared(reserved: str) -> None:
    data = wire(f"{reserved} 00 01 C0000201 0035 'payload'")
    assert decode_header(data) == Header(Address("192.0.2.1", 53))
    assert clear_reserved(data) == wire("0000 00 01 C0000201 0035 'payload'")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        pytest.param("0000 00 02 C0000201 0035", "address type 2 is none of 1, 3 and 4", id="address type"),
        pytest.param("0000 00 03 00 0035", "the host is empty", id="no name"),
        pytest.param("0000 00 03 03 'a' 00 'b' 0035", "the name contains a NUL byte", id="NUL"),
        pytest.param("0000 00 01 C00002", "7 of 10", id="cut in the address"),
        pytest.param("0000 00", "3 bytes are too few for a header", id="cut before the address"),
    ],
)
def test_what_no_header_can_be(said: str, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        decode_header(wire(said))


@fuzz
@given(conversations([said for said, _ in HEADERS.values()]))
def test_whatever_arrives_only_a_protocol_error_is_raised(data: bytes) -> None:
    try:
        header = decode_header(data)
    except ProtocolError as error:
        assert str(error).isprintable()  # noqa: PT017  (there need not be one)
        return
    size = header_size(data)
    assert decode_header(data[:size]) == header
    with pytest.raises(ProtocolError):
        header_size(data[: size - 1])


@fuzz
@given(addresses(*AddressType), st.binary())
def test_any_address_arrives_as_it_was_sent(address: Address, payload: bytes) -> None:
    data = encode_header(address) + payload
    assert decode_header(data) == Header(address)
    assert data[header_size(data) :] == payload


# --- through several relays -------------------------------------------------------------------------------------------

OSAKA, LIMA, FAR = Address("192.0.2.2", 2000), Address("2001:db8::3", 3000), Address("example.org", 53)
FROM_OSAKA, FROM_LIMA = "0000 00 01 C0000202 07D0", "0000 00 04 20010DB8 00*11 03 0BB8"


def test_each_relay_sees_the_next_one() -> None:
    datagram = encode_header(FAR) + b"question"
    assert Nesting(()).wrap(datagram) == datagram
    assert Nesting((OSAKA, LIMA)).wrap(datagram) == wire(f"{FROM_OSAKA} {FROM_LIMA}") + datagram


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(f"{FROM_OSAKA} {FROM_LIMA}", id="as we wrote them"),
        pytest.param(f"0000 00 04 00*10 FFFF C0000202 07D0 {FROM_LIMA}", id="IPv4 inside IPv6"),
        pytest.param(f"0000 00 03 09 '192.0.2.2' 07D0 {FROM_LIMA}", id="in letters"),
    ],
)
def test_what_comes_back_through_the_relays(headers: str) -> None:
    datagram = encode_header(FAR) + b"answer"
    assert Nesting((OSAKA, LIMA)).unwrap(wire(headers) + datagram) == datagram


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(f"0000 00 01 C0000203 07D0 {FROM_LIMA}", id="host"),
        pytest.param(f"0000 00 01 C0000202 07D1 {FROM_LIMA}", id="port"),
        pytest.param(f"{FROM_OSAKA} 0000 00 04 20010DB8 00*11 03 0BB9", id="the last one's port"),
        pytest.param(f"{FROM_LIMA} {FROM_OSAKA}", id="order"),
        pytest.param("0000 00 03 04 'lima' 07D0", id="name"),
    ],
)
def test_a_datagram_from_an_outsider(headers: str) -> None:
    assert Nesting((OSAKA, LIMA)).unwrap(wire(headers) + encode_header(FAR)) is None


@pytest.mark.parametrize("headers", ["", FROM_OSAKA, f"0000 01 01 C0000202 07D0 {FROM_LIMA}", f"{FROM_OSAKA} 0000 00"])
def test_what_no_relay_should_say(headers: str) -> None:
    with pytest.raises(ProtocolError):
        Nesting((OSAKA, LIMA)).unwrap(wire(headers))


@fuzz
@given(conversations([f"{FROM_OSAKA} {FROM_LIMA} {said}" for said, _ in HEADERS.values()]))
def test_any_datagram_is_unwrapped_ignored_or_refused(data: bytes) -> None:
    nesting = Nesting((OSAKA, LIMA))
    try:
        datagram = nesting.unwrap(data)
    except ProtocolError:
        return
    if datagram is not None:
        assert data.endswith(datagram)
        assert nesting.unwrap(nesting.wrap(datagram)) == datagram
