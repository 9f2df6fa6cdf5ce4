"""A chain of three hops of ours, once in the clear and once with TLS to the second one, in the background."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chainsocks import Chain, Hop, Tls
from tests.background import Background, running_background
from tests.certificates import authority
from tests.tls_front import TlsFront

__all__ = ["HOP", "ThreeHops", "three_hops", "write_ca"]

HOP = "paris.example"
"""The name in the certificate of the second hop."""


@dataclass(frozen=True)
class ThreeHops:
    """Servers, and the ways through them."""

    background: Background
    plain: Chain
    """Three hops in the clear."""
    secured: Chain
    """The same with TLS to the second one."""
    front: TlsFront
    """The second hop's TLS."""


def write_ca(folder: Path) -> str:
    """Write the certificate of the authority, and return its path."""
    path = folder / "ca.pem"
    authority().ca.cert_pem.write_to_path(str(path))
    return str(path)


@contextmanager
def three_hops(ca: str) -> Iterator[ThreeHops]:
    """Run the hops."""
    with running_background() as background:
        first, second, third = (background.proxy() for _ in range(3))
        front = TlsFront(authority().server(HOP), second)
        secured = Hop("osaka", "socks5", background.listen(front), tls=Tls(HOP, ca))
        yield ThreeHops(
            background,
            Chain(f"socks5://{first}", f"socks4a://{second}", f"socks5://{third}"),
            Chain(f"socks5://{first}", secured, f"socks5://{third}"),
            front,
        )
