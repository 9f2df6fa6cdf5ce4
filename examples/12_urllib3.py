"""12. urllib3 through two hops. It takes the extra `urllib3`.

Two chainsocks play the hops. Start them, and this program, each in a terminal of its own:

    chainsocks serve --listen 127.0.0.1:1081
    chainsocks serve --listen 127.0.0.1:1082
    python examples/12_urllib3.py
"""

import chainsocks
from chainsocks.integrations.urllib3 import ChainPoolManager

CHAIN = chainsocks.Chain("socks5://127.0.0.1:1081", "socks5://127.0.0.1:1082")

with ChainPoolManager(CHAIN, timeout=10) as manager:
    print(manager.request("GET", "http://example.org/").data.decode(), end="")
