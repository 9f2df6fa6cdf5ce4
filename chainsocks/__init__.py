"""chainsocks: a SOCKS4/4a/5 server whose way out is an ordered chain of SOCKS hops, and the same dial as a library.

::

    chain = chainsocks.Chain("socks5://127.0.0.1:9050", "socks4a://10.0.0.2:1080")
    stream = await chainsocks.connect_tcp("example.org", 443, chain=chain)

The names of the library are those of `chainsocks.library`, which is loaded when the first of them is used: the command
line starts without it. ``__init__.pyi`` shows them to type checkers.

The library logs to ``logging.getLogger("chainsocks")``, which is silent until a program sets up logging.
"""

import logging
from importlib import import_module


def __getattr__(name: str) -> object:
    library = import_module("chainsocks.library")
    if name not in {"__all__", *library.__all__}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=library)
    globals()[name] = value = getattr(library, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("chainsocks.library").__all__})


logging.getLogger("chainsocks").addHandler(logging.NullHandler())  # else warnings go to stderr, unasked
