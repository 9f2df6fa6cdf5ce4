"""What the tests that draw their input share: settings, conversations, addresses."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st

from chainsocks.protocol.address import Address, AddressType
from tests.protocol.playbook import wire

__all__ = ["addresses", "conversations", "fuzz"]

fuzz = settings(max_examples=150)

PORTS = st.integers(0, 65535)
ADDRESSES = {
    AddressType.IPV4: st.binary(min_size=4, max_size=4),
    AddressType.DOMAINNAME: st.binary(min_size=1, max_size=255).filter(lambda name: not {*b"\0:"} & {*name}),
    AddressType.IPV6: st.binary(min_size=16, max_size=16),
}


def conversations(scripts: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Draw one of the `scripts` as it is, cut short, with a byte changed, or with more bytes; or any bytes."""
    known = st.sampled_from([wire(script) for script in scripts])
    somewhere = st.integers(0, 60)
    return st.one_of(
        known,
        st.builds(lambda script, place: script[:place], known, somewhere),
        st.builds(
            lambda script, place, byte: script[:place] + bytes((byte,)) + script[place + 1 :],
            known,
            somewhere,
            st.integers(0, 255),
        ),
        st.builds(bytes.__add__, known, st.binary()),
        st.binary(max_size=800),
    )


def addresses(*types: AddressType) -> st.SearchStrategy[Address]:
    """Draw an address of one of the `types`."""
    return st.one_of([st.builds(Address.from_packed, st.just(kind), ADDRESSES[kind], PORTS) for kind in types])
