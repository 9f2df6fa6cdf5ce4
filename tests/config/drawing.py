"""Configuration files as hypothesis draws them: every kind of table, in short forms and long ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tests.config.files import Toml

__all__ = ["files"]

NAMES = st.sampled_from(["paris", "osaka", "lima", "a b", "ü", "x.y", "tab\tx", 'q"'])
LOGINS = st.sampled_from(["bob", "alice", "", "p%w", 'p"w\\', "scrypt"])
DURATIONS: st.SearchStrategy[Any] = st.sampled_from([1, 2.5, "1m30s", "off", "250ms", 0.001, 10**6])
ADDRESSES = st.sampled_from(["10.0.0.1:1080", "10.0.0.2", "hop.example:9", "[2001:db8::1]:1080"])
HASH = "scrypt:16384:8:1:Ts0zvk-LykGf9gEhELPRXA:8sijjYQnHe8f-WOYjQYm9PtEyj1TA8S4343NtRW6jWM"

Drawn = st.SearchStrategy[Mapping[str, Toml]]


def some(required: Mapping[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> Drawn:
    """Draw tables that have all of the required keys, and some of the others."""
    return st.fixed_dictionaries(dict(required), optional=optional)


URLS = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["socks5", "socks5h", "http", "socks5+tls"]),
    st.sampled_from(["", "u:p@", "t@", "v:p@"]),
    ADDRESSES,
)
HOP_KEYS: Mapping[str, st.SearchStrategy[Any]] = {
    "timeout": DURATIONS,
    "resolve": st.sampled_from(["remote", "local"]),
    "pipeline": st.sampled_from(["off", "hop", "chain"]),
    "tor": st.booleans(),
    "tls": st.sampled_from([True, {"name": "hop.example"}, {"alpn": "x"}, {"alpn": ["x", "y"]}]),
    "udp_relay": st.sampled_from(["hop", "reported", "192.0.2.7"]),
}
HOPS = (
    URLS
    | some({"url": URLS}, **HOP_KEYS)
    | some(
        {
            "protocol": st.just("socks5"),
            "address": ADDRESSES,
            "username": LOGINS,
            "password": LOGINS,
        },
        **HOP_KEYS,
    )
    | some({"protocol": st.just("socks5"), "address": ADDRESSES}, isolate=st.sampled_from(["off", "session", "user"]))
    | some({"protocol": st.just("socks4a"), "address": ADDRESSES}, user_id=LOGINS, timeout=DURATIONS)
)
LISTENERS = (
    st.sampled_from(["127.0.0.1:1080", 1081, ":1082", "[::1]:1080", "unix:/run/x"])
    | some(
        {"address": st.sampled_from(["127.0.0.1:1083", "localhost:1084"])},
        names_only=st.sampled_from(["off", "warn", "refuse"]),
        chain=st.just("direct"),
    )
    | st.just({"address": "unix:/run/y", "mode": "0660"})
)
SERVERS = some(
    {},
    listen=LISTENERS | st.lists(LISTENERS, min_size=1, max_size=3),
    workers=st.integers(0, 3),
    max_sessions=st.integers(3, 9),
    keepalive=DURATIONS,
    lane=st.booleans(),
    udp_ports=st.sampled_from(["40000", "40000-40100"]),
    ident=st.sampled_from(["off", "check"]),
)
TIMEOUTS = some({}, **dict.fromkeys(("handshake", "resolve", "dial", "idle", "grace"), DURATIONS))
RULES: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"deny": st.just(True)},  # noqa: FBT003
    optional={
        "to": st.sampled_from(["10.0.0.0/8", ["*.lan", "::1"]]),
        "ports": st.sampled_from([25, "6000-6100", [25, "6000-6100"]]),
        "from": st.sampled_from(["192.168.7.0/24", ["10.0.0.1", "10.0.0.2-10.0.0.9"]]),
        "versions": st.sampled_from([4, ["4a", 5]]),
        "commands": st.sampled_from(["udp", ["bind", "resolve"]]),
    },
)
USERS: st.SearchStrategy[Any] = st.lists(
    st.sampled_from(["carol", "dave", "ü"]).map(lambda name: {"name": name, "password_hash": HASH}),
    unique_by=lambda user: user["name"],
    max_size=3,
)


@st.composite
def files(draw: st.DrawFn) -> Mapping[str, Toml]:
    """Draw a file; most of them have no problem."""
    hops = draw(st.dictionaries(NAMES, HOPS, min_size=1, max_size=4))
    names = st.lists(st.sampled_from(sorted(hops)), min_size=1, max_size=3)
    groups = draw(
        st.dictionaries(
            st.sampled_from(["g1", "g 2"]),
            names
            | some(
                {"hops": names},
                pick=st.sampled_from(["failover", "round-robin", "random", "fastest", "sticky"]),
                hedge=DURATIONS,
                retry_refused=st.booleans(),
                check=DURATIONS,
            ),
            max_size=2,
        )
    )
    places = st.lists(st.sampled_from(sorted([*hops, *groups])), min_size=1, max_size=3)
    chains = draw(
        st.dictionaries(
            st.sampled_from(["default", "other", "x y"]),
            places
            | st.just("direct")
            | some(
                {"hops": places},
                dial=DURATIONS,
                udp=st.just("refuse"),
                names_only=st.sampled_from(["off", "warn"]),
                skip_dead=st.booleans(),
                warm=st.integers(0, 2),
                pipeline=st.sampled_from(["off", "hop"]),
            )
            | some({"hops": st.just("direct")}, dial=DURATIONS),
            max_size=3,
        )
    )
    whole: dict[str, Toml] = {"hops": hops, "groups": groups, "chains": chains}
    whole |= draw(some({}, server=SERVERS, timeouts=TIMEOUTS, rules=st.lists(RULES, max_size=2), users=USERS))
    return whole
