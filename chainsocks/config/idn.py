"""International names in the form in which DNS and SOCKS carry them: A-labels (RFC 5890, mapped as UTS 46 has it).

A name in ASCII is never changed, so underscores, single labels and dots at the end stay as they are. Symbols, which
IDNA 2008 excludes and browsers accept, are encoded as UTS 46 has it.
"""

from __future__ import annotations

import re
from dataclasses import replace

import idna

from chainsocks.protocol.address import Address, AddressType, HostLike, PortLike, host_text, port_number, printable

__all__ = ["DOTS", "a_label", "a_name", "destination_of", "with_a_labels"]

DOTS = re.compile("[.\u3002\uff0e\uff61]")
"""All that IDNA takes for a dot (RFC 3490 section 3.1)."""

_MAX_LABEL = 63  # RFC 1035 section 2.3.4
_BYTES = re.compile("[\udc80-\udcff]")  # surrogate escapes: bytes that are not UTF-8
_NOT_IN_A_NAME = re.compile(r"[\x00-,/:-@\[-^`{-\x7f]")  # ASCII that is no letter, digit, hyphen, underscore or dot
_NO_SUCH_CHARACTER = "it has a character that no name has"


def destination_of(host: HostLike, port: PortLike) -> Address:
    """Return the address of a host that a user of the library has named, an international name as A-labels.

    Raises:
        ValueError: the host or the port cannot be part of a SOCKS request.
    """
    return Address(a_name(host_text(host)), port_number(port))


def with_a_labels(address: Address) -> Address:
    """Return an address with its name, if it is one, as A-labels.

    Raises:
        ValueError: the name has no such form.
    """
    if address.type is not AddressType.DOMAINNAME or address.host.isascii():
        return address
    return replace(address, host=a_name(address.host))


def a_name(name: str) -> str:
    """Return a name as A-labels. One in ASCII is returned unchanged, and so is one of bytes that are not UTF-8.

    Raises:
        ValueError: a label is empty, too long, or has characters that no name has.
    """
    if name.isascii() or _BYTES.search(name):
        return name
    *labels, last = DOTS.split(name)
    if last:
        labels.append(last)
    try:
        return ".".join(map(a_label, labels)) + ("" if last else ".")
    except ValueError as error:
        raise ValueError(f"{printable(name)!r} is no domain name: {error}") from None


def a_label(label: str) -> str:
    """Return one label as an A-label, and one in ASCII in lower case. A full-width dot in it divides it into several.

    Raises:
        ValueError: it is empty, too long, or has characters that no name has.
    """
    try:
        encoded = label.lower() if label.isascii() else idna.encode(label, uts46=True).decode("ascii")
    except idna.InvalidCodepoint:
        encoded = _with_symbols(label)
    except idna.IDNAError as error:
        raise ValueError(_complaint(error)) from None
    if _NOT_IN_A_NAME.search(encoded):
        raise ValueError(_NO_SUCH_CHARACTER)
    if not encoded:
        raise ValueError("a label is empty")
    if max(map(len, encoded.split("."))) > _MAX_LABEL:
        raise ValueError(f"a label has more than {_MAX_LABEL} bytes")
    return encoded


def _complaint(error: idna.IDNAError) -> str:
    match str(error):
        case "Label too long" | "Domain too long":
            return f"a label has more than {_MAX_LABEL} bytes"
        case "Empty Label" | "Empty domain":
            return "a label is empty"
        case problem:
            return problem[:1].lower() + problem[1:]


def _with_symbols(label: str) -> str:
    """Encode a label with characters that IDNA 2008 excludes, such as an underscore or a heart."""
    try:
        mapped = idna.uts46_remap(label, std3_rules=False)
    except idna.InvalidCodepoint:
        raise ValueError(_NO_SUCH_CHARACTER) from None
    if _NOT_IN_A_NAME.search(mapped):
        raise ValueError(_NO_SUCH_CHARACTER)
    return mapped if mapped.isascii() else "xn--" + mapped.encode("punycode").decode("ascii")
