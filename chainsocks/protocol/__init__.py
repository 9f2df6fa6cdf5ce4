"""SOCKS4, SOCKS4a and SOCKS5 as bytes in, bytes out.

This room knows the wire format and nothing else: no sockets, no clock, no logging, and only the standard library.

1. Any segmentation gives the same result: a message is decoded when all of it has arrived, and not before.
2. Bytes after a finished handshake are kept, as ``trailing_data``.
3. Every refusal that is sent has the full length that its RFC specifies.
4. Whatever bytes arrive, the only exceptions are those of `chainsocks.protocol.errors`.
"""
