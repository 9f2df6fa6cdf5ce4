"""13. A socket for code that wants one, through two hops, without an event loop.

Two chainsocks play the hops. Start them, and this program, each in a terminal of its own:

    chainsocks serve --listen 127.0.0.1:1081
    chainsocks serve --listen 127.0.0.1:1082
    python examples/13_socket.py
"""

import sys

import chainsocks

CHAIN = chainsocks.Chain("socks5://127.0.0.1:1081", "socks5://127.0.0.1:1082")
HOST, PORT = "example.org", 80

with chainsocks.sync.connect(HOST, PORT, chain=CHAIN, timeout=10) as sock:
    sock.sendall(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
    while data := sock.recv(65536):
        sys.stdout.buffer.write(data)
