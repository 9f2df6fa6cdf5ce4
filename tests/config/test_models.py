"""The defaults of the whole program, and what a configuration knows about itself."""

from __future__ import annotations

import dataclasses

import pytest

from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.hops import Hop, HopProtocol, NamesOnly
from chainsocks.config.models import Config, Listen, Server, Timeouts, UnixPath, User, is_loopback
from chainsocks.config.passwords import PlainPassword
from chainsocks.protocol.address import Address

CAROL = User("carol", PlainPassword(b"geheim"))


def test_the_defaults_of_the_server() -> None:
    assert Server() == Server(listen=(Address("127.0.0.1", 1080),), workers=1, max_sessions=10_000, open=False)


def test_every_deadline_and_its_default() -> None:
    assert dataclasses.asdict(Timeouts()) == {
        "handshake": 10,
        "ident": 5,
        "resolve": 5,
        "connect": 10,
        "hop": 10,
        "dial": 30,
        "reply": 5,
        "idle": 300,
        "half_close": 60,
        "bind": 120,
        "udp_idle": 120,
        "grace": 10,
    }


def test_an_empty_configuration_is_direct_and_local() -> None:
    config = Config()
    assert (config.hops, config.chains, config.users) == ({}, {}, ())
    assert (config.default_chain, config.exposed) == (DIRECT, ())


@pytest.mark.parametrize(
    "value", [Config(), Server(), Timeouts(), CAROL, UnixPath("/run/x")], ids=lambda v: type(v).__name__
)
def test_configurations_are_frozen(value: Config | Server | Timeouts | User | UnixPath) -> None:
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, None)


def test_a_user_shows_no_password() -> None:
    assert repr(CAROL) == "User(name='carol')"


def test_a_unix_socket_is_shown_as_it_is_written() -> None:
    assert str(UnixPath("/run/chainsocks.sock")) == "unix:/run/chainsocks.sock"


# --- the default chain ------------------------------------------------------------------------------------------------

DEFAULT, ONION = Chain("socks5://paris.example"), Chain("socks5://tor.example", name="onion")


@pytest.mark.parametrize(
    ("chains", "default_chain"),
    [
        pytest.param([], DIRECT, id="no chain: direct"),
        pytest.param([DEFAULT], DEFAULT, id="default"),
        pytest.param([ONION, DEFAULT], DEFAULT, id="default among others"),
        pytest.param([ONION], None, id="only others: refused, never direct"),
    ],
)
def test_the_chain_of_a_request_that_no_rule_matches(chains: list[Chain], default_chain: Chain | None) -> None:
    assert Config(chains={chain.name: chain for chain in chains}).default_chain == default_chain


# --- who can reach us -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "loopback"),
    [
        (Address("127.0.0.1", 1080), True),
        (Address("127.255.255.254", 1080), True),
        (Address("::1", 1080), True),
        (Address("localhost", 1080), True),
        (UnixPath("/run/chainsocks.sock"), True),
        (Address("0.0.0.0", 1080), False),
        (Address("::", 1080), False),
        (Address("10.0.0.1", 1080), False),
        (Address("128.0.0.1", 1080), False),
        (Address("fe80::1", 1080), False),
        (Address("localhost.example", 1080), False),
        (Address("127.0.0.1.example", 1080), False),
    ],
    ids=str,
)
def test_which_listeners_only_this_machine_can_reach(listen: Listen, loopback: bool) -> None:  # noqa: FBT001
    assert is_loopback(listen) is loopback


HOME, WORLD, EVERYBODY = Address("127.0.0.1", 1080), Address("0.0.0.0", 1080), Address("::", 1080)


@pytest.mark.parametrize(
    ("config", "exposed"),
    [
        pytest.param(Config(Server(listen=(HOME,))), (), id="loopback"),
        pytest.param(Config(Server(listen=(WORLD,))), (WORLD,), id="beyond"),
        pytest.param(Config(Server(listen=(WORLD, HOME, EVERYBODY))), (WORLD, EVERYBODY), id="both"),
        pytest.param(Config(Server(listen=(WORLD,)), users=(CAROL,)), (), id="beyond, with users"),
        pytest.param(Config(Server(listen=(WORLD,), open=True)), (), id="beyond, and meant so"),
    ],
)
def test_the_listeners_that_strangers_could_use(config: Config, exposed: tuple[Listen, ...]) -> None:
    assert config.exposed == exposed


def test_hops_in_no_chain_are_no_reason_to_go_without_them() -> None:
    hop = Hop("paris", HopProtocol.SOCKS5, Address("10.0.0.1", 1080))
    assert Config(hops={"paris": hop}).default_chain is None


OFF, WARN, REFUSE = NamesOnly
HERE, THERE, ANYWHERE, SOCKET = Address("127.0.0.1", 1080), Address("::1", 1080), Address("proxy", 1080), UnixPath("/x")


@pytest.mark.parametrize(
    ("listen", "bound", "names_only"),
    [
        ({HERE: None, THERE: WARN, SOCKET: REFUSE}, [HERE, THERE, SOCKET], [OFF, WARN, REFUSE]),
        ({HERE: REFUSE, ANYWHERE: None}, [HERE, Address("10.0.0.1", 1080)], [REFUSE, OFF]),
        ({HERE: None, ANYWHERE: WARN}, [HERE, Address("10.0.0.1", 1080), THERE], [OFF, WARN, WARN]),
        ({HERE: OFF, ANYWHERE: WARN}, [HERE], [OFF]),
        ({Address("127.0.0.1", 0): REFUSE, HERE: None}, [HERE, Address("127.0.0.1", 40001)], [OFF, REFUSE]),
        (
            {Address("0:0::1", 0): REFUSE, ANYWHERE: WARN},
            [Address("::1", 40001), Address("::1", 1080)],
            [REFUSE, REFUSE],
        ),
        ({HERE: REFUSE, SOCKET: None}, [SOCKET], [OFF]),
    ],
    ids=["each its own", "a name without", "a name with", "off by itself", "port 0", "the strictest", "unix"],
)
def test_what_holds_for_a_listening_socket(
    listen: dict[Listen, NamesOnly | None], bound: list[Listen], names_only: list[NamesOnly]
) -> None:
    server = Server(tuple(listen), names_only={each: value for each, value in listen.items() if value})
    assert [server.names_only_at(each) for each in bound] == names_only
