from chainsocks import sync as sync
from chainsocks.bridge.for_asyncio import create_connection as create_connection
from chainsocks.bridge.for_asyncio import open_connection as open_connection
from chainsocks.bridge.serving import forward as forward
from chainsocks.bridge.serving import serve as serve
from chainsocks.client.for_asyncio_datagrams import ChainDatagramTransport as ChainDatagramTransport
from chainsocks.client.for_asyncio_datagrams import create_datagram_endpoint as create_datagram_endpoint
from chainsocks.client.for_trio import TrioStream as TrioStream
from chainsocks.client.for_trio import open_trio_stream as open_trio_stream
from chainsocks.config.load import load_config as load_config
from chainsocks.library import *  # noqa: F403
from chainsocks.library import __all__ as __all__
