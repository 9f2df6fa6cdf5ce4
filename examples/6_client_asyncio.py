"""6. The client library under asyncio: the same, with hops and limits of your choice, and an error message on failure.

Two chainsocks play the hops. Start them, and this program, each in a terminal of its own:

    chainsocks serve --listen 127.0.0.1:1081
    chainsocks serve --listen 127.0.0.1:1082
    python examples/6_client_asyncio.py socks5://127.0.0.1:1081 socks4a://127.0.0.1:1082

Without hops it connects directly. If a hop fails, it prints the name of the hop, its address, the step, and the time
spent.
"""

import asyncio
import sys

import chainsocks

HOST, PORT = "example.org", 80


async def main(hops: list[str]) -> None:
    """Print the page, fetched through `hops`."""
    chain = chainsocks.Chain(*hops)
    timeouts = chainsocks.Timeouts(connect=3, hop=5, dial=10)  # seconds: to the first hop, for each hop, in all
    stream = await chainsocks.connect_tcp(HOST, PORT, chain=chain, timeouts=timeouts)
    async with stream:
        await stream.send(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        async for data in stream:
            sys.stdout.buffer.write(data)


try:
    asyncio.run(main(sys.argv[1:]))
except chainsocks.DialError as error:
    sys.exit(str(error))
