"""10. aiohttp through two hops. It takes the extra `aiohttp`.

Two chainsocks play the hops. Start them, and this program, each in a terminal of its own:

    chainsocks serve --listen 127.0.0.1:1081
    chainsocks serve --listen 127.0.0.1:1082
    python examples/10_aiohttp.py
"""

import asyncio

import aiohttp

import chainsocks
from chainsocks.integrations.aiohttp import ChainConnector

CHAIN = chainsocks.Chain("socks5://127.0.0.1:1081", "socks5://127.0.0.1:1082")


async def main() -> None:
    """Print the page."""
    async with (
        aiohttp.ClientSession(connector=ChainConnector(CHAIN)) as session,
        session.get("http://example.org/") as answer,
    ):
        print(await answer.text(), end="")


asyncio.run(main())
