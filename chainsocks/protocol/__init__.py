"""SOCKS4, SOCKS4a and SOCKS5 as bytes in, bytes out.

This floor knows the wire and nothing else: no sockets, no clock, no logging, and only the standard library.

1. Any segmentation gives the same result: a message is decoded whole, or not at all yet.
2. Bytes behind a finished handshake are never lost; they are ``trailing_data``.
3. Every refusal we send has the full length that its RFC gives it.
4. Whatever arrives, the only exceptions are those of `chainsocks.protocol.errors`.
"""
