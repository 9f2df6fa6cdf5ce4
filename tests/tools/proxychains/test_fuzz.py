"""Any text is imported or refused, and what is imported is a configuration."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainsocks.config.load import parse_config
from chainsocks.config.models import Config
from chainsocks.config.written import write_parts
from chainsocks.errors import ConfigError
from chainsocks.tools.proxychains.convert import convert
from chainsocks.tools.proxychains.parse import Kind, Mode, parse_proxychains

SECRET = "hunter2"
HOSTS = st.sampled_from(["192.0.2.1", "127.0.0.1", "::1", "fe80::1", "two.example", "::ffff:192.0.2.1", "0.0.0.0", "x"])
PORTS = st.sampled_from(["1080", "0", "65535", "65536", "-1", "1080x", "x", "٣"])
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.just(SECRET)
OPTIONS = (
    st.sampled_from([*Mode, "proxy_dns", "proxy_dns_old", "quiet_mode", "#x", "", "strict_chain x", "random_seed 1"])
    | st.builds("chain_len = {}".format, st.integers(-2, 4))
    | st.builds("{} {}".format, st.sampled_from(["tcp_read_time_out", "tcp_connect_time_out"]), st.integers(-1, 2**70))
    | st.builds("localnet {}/{}".format, HOSTS, st.sampled_from(["8", "255.0.0.0", "255.0.255.0", "129", "٣", "x"]))
    | st.builds("localnet {}:{}/8".format, HOSTS, PORTS)
    | st.builds("remote_dns_subnet {}".format, st.integers(0, 300))
    | st.builds("dnat {} {}".format, HOSTS, HOSTS)
    | st.builds("proxy_dns_daemon {}:{}".format, HOSTS, PORTS)
    | WORDS
)
KINDS = st.sampled_from([*Kind, "socks6"])
PROXIES = (
    st.builds("{} {} {} {} {}".format, KINDS, HOSTS, PORTS, WORDS, WORDS)
    | st.builds("{}\t{}\t{}".format, KINDS, HOSTS, PORTS)
    | st.builds("{}://{}:{}@{}:{}".format, KINDS, WORDS, WORDS, HOSTS, PORTS)
    | WORDS
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.lists(OPTIONS, max_size=5), st.lists(PROXIES, min_size=1, max_size=4), st.binary(max_size=3))
def test_what_is_imported_is_a_configuration(
    tmp_path: Path, options: list[str], proxies: list[str], junk: bytes
) -> None:
    path = tmp_path / "proxychains.conf"
    path.write_bytes("\n".join([*options, "[ProxyList]", *proxies]).encode() + junk)
    outcome = imported(path)
    if isinstance(outcome, ConfigError):
        assert SECRET not in str(outcome)
    else:
        config, is_whole = outcome
        assert is_whole or config.rules[-1].way == "deny = true"
        assert config.hops or not is_whole


def imported(path: Path) -> tuple[Config, bool] | ConfigError:
    """Import a file of which nothing is known."""
    try:
        converted = convert(parse_proxychains(path), "x")
        return parse_config(write_parts(converted.parts)), converted.is_whole
    except ConfigError as error:
        return error
