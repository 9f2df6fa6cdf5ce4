"""14. httpx, asynchronous and not, through two hops. It takes the extra `httpx`.

Two chainsocks play the hops. Start them, and this program, each in a terminal of its own:

    chainsocks serve --listen 127.0.0.1:1081
    chainsocks serve --listen 127.0.0.1:1082
    python examples/14_httpx.py
"""

import asyncio

import httpx

import chainsocks
from chainsocks.integrations.httpx import AsyncChainTransport, ChainTransport

CHAIN = chainsocks.Chain("socks5://127.0.0.1:1081", "socks5://127.0.0.1:1082")


async def main() -> None:
    """Print the page."""
    async with httpx.AsyncClient(transport=AsyncChainTransport(CHAIN)) as client:
        print((await client.get("http://example.org/")).text, end="")


asyncio.run(main())

with httpx.Client(transport=ChainTransport(CHAIN)) as client:
    print(client.get("http://example.org/").text, end="")
