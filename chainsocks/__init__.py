"""chainsocks: a SOCKS4/4a/5 server whose way out is an ordered chain of SOCKS hops, and the same dial as a library.

::

    chain = chainsocks.Chain("socks5://127.0.0.1:9050", "socks4a://10.0.0.2:1080")
    stream = await chainsocks.connect_tcp("example.org", 443, chain=chain)

The names of the library are those of `chainsocks.library`, which is loaded when the first of them is used: the command
line starts without it. Some need more, an event loop of one kind or the whole server, and are loaded one by one.
``__init__.pyi`` shows all of them to type checkers.

The library logs to ``logging.getLogger("chainsocks")``, which is silent until a program sets up logging.
"""

import logging
from importlib import import_module

_ONE_BY_ONE = {
    "ChainDatagramTransport": "chainsocks.client.for_asyncio_datagrams",
    "create_datagram_endpoint": "chainsocks.client.for_asyncio_datagrams",
    "forward": "chainsocks.bridge.serving",
    "load_config": "chainsocks.config.load",
    "serve": "chainsocks.bridge.serving",
    "create_connection": "chainsocks.bridge.for_asyncio",
    "open_connection": "chainsocks.bridge.for_asyncio",
    "TrioStream": "chainsocks.client.for_trio",
    "open_trio_stream": "chainsocks.client.for_trio",
}
"""Names that `chainsocks.library` does not have, and their modules."""


def __getattr__(name: str) -> object:
    if name == "sync":
        return import_module("chainsocks.sync")
    if name in _ONE_BY_ONE:
        globals()[name] = found = getattr(import_module(_ONE_BY_ONE[name]), name)
        return found
    library = import_module("chainsocks.library")
    if name not in {"__all__", *library.__all__}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=library)
    globals()[name] = value = getattr(library, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("chainsocks.library").__all__, *_ONE_BY_ONE, "sync"})


logging.getLogger("chainsocks").addHandler(logging.NullHandler())  # else warnings go to stderr, unasked
