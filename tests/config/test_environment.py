"""The proxy that the environment names."""

from __future__ import annotations

import pytest

import chainsocks
from chainsocks import Chain, Hop, HopProtocol, Resolve, UserId, UsernamePassword
from chainsocks.config.environment import proxy_of


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({"ALL_PROXY": "socks5h://127.0.0.1:9050"}, "socks5://127.0.0.1:9050"),
        ({"all_proxy": "socks5://u:p@127.0.0.1:9050/", "ALL_PROXY": "socks4a://b"}, "socks5://u:p@127.0.0.1:9050"),
        ({"ALL_PROXY": " socks4a://fred@a:1080 "}, "socks4a://fred@a:1080"),
        ({"all_proxy": "", "HTTPS_PROXY": "http://a:3128"}, "http://a:3128"),
        ({"https_proxy": "a:3128", "HTTPS_PROXY": "http://b:3128"}, "http://a:3128"),
        ({"ALL_PROXY": "https://a:443"}, "https://a:443"),
    ],
)
def test_what_it_names(environment: dict[str, str], url: str) -> None:
    assert Chain.from_env(environment) == Chain(url)


def test_names_go_to_the_proxy_where_it_can_carry_them() -> None:
    for scheme in ("socks5", "socks5h", "socks4a", "http"):
        hop = proxy_of({"ALL_PROXY": f"{scheme}://a:1"})
        assert hop
        assert hop.resolve is Resolve.REMOTE
    assert proxy_of({"ALL_PROXY": "socks4://fred@a:1"}) == Hop(
        "a:1", HopProtocol.SOCKS4, "a:1", UserId("fred"), resolve="local"
    )


def test_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://elsewhere:3128")
    with pytest.raises(ValueError, match="no proxy is in the environment; set ALL_PROXY to a URL such as socks5h://"):
        Chain.from_env()
    assert Chain.from_env(default=chainsocks.DIRECT) is chainsocks.DIRECT
    monkeypatch.setenv("ALL_PROXY", "socks5h://u:secret@a:1")
    [hop] = Chain.from_env().hops
    assert isinstance(hop, Hop)
    assert hop.credentials == UsernamePassword("u", "secret")


def test_what_is_no_proxy_names_the_variable_and_no_secret() -> None:
    with pytest.raises(ValueError, match=r"^ALL_PROXY in the environment: unknown scheme 'sock5'") as caught:
        Chain.from_env({"ALL_PROXY": "sock5://u:wonderland@a:1"})
    assert "wonderland" not in str(caught.value)
