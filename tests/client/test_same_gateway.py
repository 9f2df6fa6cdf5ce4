"""Two logins at one gateway, of which one is refused: the other one works, in the library and through a server."""

from __future__ import annotations

import pytest
import trio

import chainsocks
from chainsocks import Address, Chain, Group
from chainsocks.config.choices import Pick
from chainsocks.config.load import parse_config
from chainsocks.config.models import Config, User
from chainsocks.config.passwords import PlainPassword
from tests.background import Background
from tests.client.running import run


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


@pytest.fixture(scope="module")
def echoer(background: Background) -> Address:
    return background.listen(echo)


@pytest.fixture(scope="module")
def gateway(background: Background) -> Address:
    """A server that takes one login only."""
    return background.proxy(Config(users=(User("good", PlainPassword(b"y")),)))


async def is_echoed(target: Address, chain: Chain) -> bytes:
    async with await chainsocks.connect_tcp(target.host, target.port, chain=chain) as stream:
        await stream.send(b"hello")
        return await stream.receive()


@pytest.mark.parametrize("pick", Pick)
def test_the_library_tries_the_other_login(backend: str, pick: Pick, gateway: Address, echoer: Address) -> None:
    logins = Group(f"socks5://bad:x@{gateway}", f"socks5://good:y@{gateway}", name=f"{backend} {pick}", pick=pick)
    for _ in range(3):
        assert run(backend, is_echoed, echoer, Chain(logins)) == b"hello"


def test_the_library_tells_that_both_are_refused(backend: str, gateway: Address, echoer: Address) -> None:
    logins = Group(f"socks5://bad:x@{gateway}", f"socks5://worse:z@{gateway}")
    with pytest.raises(chainsocks.HopAuthenticationError) as caught:
        run(backend, is_echoed, echoer, Chain(logins))
    assert [type(error) for error in caught.value.earlier] == [chainsocks.HopAuthenticationError]


@pytest.mark.parametrize(
    "hops",
    [
        'bad = "socks5://bad:x@{gateway}"\ngood = "socks5://good:y@{gateway}"',
        'bad = {{ url = "socks5://{gateway}" }}\ngood = "socks5://good:y@{gateway}"',
    ],
    ids=["another login", "no login"],
)
def test_the_server_tries_the_other_login(
    background: Background, gateway: Address, echoer: Address, hops: str, caplog: pytest.LogCaptureFixture
) -> None:
    declared = hops.format(gateway=gateway)
    config = parse_config(f'[hops]\n{declared}\n[groups]\nlogins = ["bad", "good"]\n[chains]\ndefault = ["logins"]\n')
    server = background.proxy(config)
    for _ in range(3):
        assert run("trio", is_echoed, echoer, Chain(f"socks5://{server}")) == b"hello"
    backoffs = [message for message in caplog.messages if " in backoff for " in message]
    assert len(backoffs) == 1, "the second and the third session go to the other one at once"
    assert backoffs[0].startswith("hop bad in backoff for ")
    assert "bad:x" not in caplog.text
    assert "good:y" not in caplog.text
