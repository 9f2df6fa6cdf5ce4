"""5. The client library under trio: one web page, through two hops.

Two chainsocks play the hops. Start them, and this program, each in a terminal of its own:

    chainsocks serve --listen 127.0.0.1:1081
    chainsocks serve --listen 127.0.0.1:1082
    python examples/5_client_trio.py
"""

import sys

import trio

import chainsocks

HOST, PORT = "example.org", 80


async def main() -> None:
    """Print the page."""
    chain = chainsocks.Chain("socks5://127.0.0.1:1081", "socks4a://127.0.0.1:1082")

    # The last hop resolves the name, and not this machine.
    stream = await chainsocks.connect_tcp(HOST, PORT, chain=chain)

    # The stream is like any other; the caller closes it.
    async with stream:
        await stream.send(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        async for data in stream:
            sys.stdout.buffer.write(data)


trio.run(main)
