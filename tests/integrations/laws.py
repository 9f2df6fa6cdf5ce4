"""What holds for every HTTP client through a chain, written once."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from chainsocks import Chain, DialError, DialTimeout
from tests.background import PATIENCE, Script, wait_until
from tests.certificates import authority
from tests.integrations.conftest import World
from tests.integrations.site import BIG

__all__ = ["Asked", "Client", "Laws"]


@dataclass(frozen=True)
class Asked:
    """A request."""

    url: str
    body: bytes | None = None
    """Of a POST; None for a GET."""


class Client(ABC):
    """An HTTP client."""

    connect_error: type[Exception]
    connect_timeout: type[Exception]
    certificate_error: type[Exception]
    read_timeout: type[Exception]

    @abstractmethod
    def ask(
        self,
        chain: Chain,
        *requests: Asked,
        context: ssl.SSLContext,
        timeout: float = PATIENCE,
        isolation: str | None = None,
    ) -> Sequence[bytes]:
        """Send the requests one after the other by one client, and return the bodies of the answers."""


def causes(error: BaseException | None) -> list[BaseException]:
    """An error, and everything behind it."""
    found: list[BaseException] = []
    while error and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__ or getattr(error, "reason", None)
    return found


class Laws:
    """Subclass it with a fixture `client`."""

    @pytest.mark.parametrize("way", ["plain", "secured"])
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_requests_go_through_all_hops_and_connections_are_kept(
        self, client: Client, world: World, way: str, scheme: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        site = getattr(world, scheme)
        before = site.connections
        requests = [Asked(f"{site.url}/a"), Asked(f"{site.url}/big"), Asked(f"{site.url}/b", b"x" * 300_000)]
        answers = client.ask(getattr(world, way), *requests, context=authority().client())
        assert [*answers] == [b"you asked for /a", BIG, b"X" * 300_000]
        assert site.connections == before + 1
        wait_until(lambda: f"destination=localhost:{site.port}" in caplog.text)  # the last hop's line

    def test_without_a_chain_it_is_direct(self, client: Client, world: World) -> None:
        assert [*client.ask(Chain(), Asked(f"{world.http.url}/a"), context=authority().client())] == [
            b"you asked for /a"
        ]

    def test_a_hop_that_is_not_there_is_named(self, client: Client, world: World) -> None:
        chain = Chain(*world.plain.hops[:2], "socks5://127.0.0.1:1")
        with pytest.raises(client.connect_error) as caught:
            client.ask(chain, Asked(world.http.url), context=authority().client())
        assert "(2 of 3)" in str(caught.value)
        assert "could not reach 127.0.0.1:1" in str(caught.value)
        assert any(isinstance(each, DialError) for each in causes(caught.value))

    def test_a_hop_that_is_mute(self, client: Client, world: World) -> None:
        script = Script()
        chain = Chain(f"socks5://{world.background.listen(script)}")
        with pytest.raises(client.connect_timeout) as caught:
            client.ask(chain, Asked(world.http.url), context=authority().client(), timeout=0.2)
        assert any(isinstance(each, DialTimeout) for each in causes(caught.value))
        assert script.left.wait(PATIENCE)

    def test_a_site_that_is_slow(self, client: Client, world: World) -> None:
        with pytest.raises(client.read_timeout):
            client.ask(Chain(), Asked(f"{world.http.url}/slow"), context=authority().client(), timeout=0.3)

    @pytest.mark.parametrize("way", ["plain", "secured"])
    def test_a_certificate_that_is_not_trusted(self, client: Client, world: World, way: str) -> None:
        with pytest.raises(client.certificate_error, match=r"(?i)certificate"):
            client.ask(getattr(world, way), Asked(world.https.url), context=ssl.create_default_context())

    def test_isolation_reaches_the_dial(self, client: Client, world: World) -> None:
        with pytest.raises(ValueError, match="isolation is given, and no hop of the chain isolates"):
            client.ask(world.plain, Asked(world.http.url), context=authority().client(), isolation="account-7")

    def test_what_is_no_chain(self, client: Client, world: World) -> None:
        with pytest.raises(ValueError, match="the chain is None"):
            client.ask(None, Asked(world.http.url), context=authority().client())  # type: ignore[arg-type]
