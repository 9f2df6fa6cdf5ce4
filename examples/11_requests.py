"""11. requests through two hops. It takes the extra `requests`.

Two chainsocks play the hops. Start them, and this program, each in a terminal of its own:

    chainsocks serve --listen 127.0.0.1:1081
    chainsocks serve --listen 127.0.0.1:1082
    python examples/11_requests.py
"""

import chainsocks
from chainsocks.integrations.requests import chain_session

CHAIN = chainsocks.Chain("socks5://127.0.0.1:1081", "socks5://127.0.0.1:1082")

with chain_session(CHAIN) as session:
    print(session.get("http://example.org/", timeout=10).text, end="")
