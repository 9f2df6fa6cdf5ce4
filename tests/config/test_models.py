"""The defaults of the whole program, and what a configuration knows about itself."""

from __future__ import annotations

import dataclasses
import math

import pytest

from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import Listener, ListenerKind, UnixPath, parse_sender
from chainsocks.config.models import Config, Server, Timeouts, User, open_to_all
from chainsocks.config.passwords import PlainPassword
from chainsocks.config.rules import Rule, parse_networks
from chainsocks.protocol.address import Address

CAROL = User("carol", PlainPassword(b"geheim"))


def test_the_defaults_of_the_server() -> None:
    assert Server() == Server(
        listen=(Listener(Address("127.0.0.1", 1080)),), workers=1, max_sessions=10_000, open=False
    )


def test_every_step_has_a_deadline_by_default() -> None:
    assert {name for name, seconds in dataclasses.asdict(Timeouts()).items() if not 0 < seconds < math.inf} == set()


def test_the_default_for_a_dial_leaves_time_for_another_attempt() -> None:
    """In a group, and after one that has used up its longest step."""
    timeouts = Timeouts()
    assert timeouts.dial >= 2 * max(timeouts.resolve, timeouts.connect, timeouts.hop)


def test_an_empty_configuration_is_direct_and_local() -> None:
    config = Config()
    assert (config.hops, config.chains, config.users) == ({}, {}, ())
    assert (config.default_chain, config.exposed) == (DIRECT, ())


@pytest.mark.parametrize("value", [Config(), Server(), Timeouts(), CAROL], ids=lambda v: type(v).__name__)
def test_configurations_are_frozen(value: Config | Server | Timeouts | User) -> None:
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, None)


def test_a_user_shows_no_password() -> None:
    assert repr(CAROL) == "User(name='carol')"


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


HOME, WORLD, EVERYBODY = (Listener(Address(host, 1080)) for host in ("127.0.0.1", "0.0.0.0", "::"))


BALANCED = Listener(Address("127.0.0.1", 1080), proxy_protocol=parse_sender("127.0.0.1"))
BY_SOCKET = Listener(UnixPath("/run/chainsocks.sock"), proxy_protocol=parse_sender("unix"))
NAMES = Listener(Address("0.0.0.0", 53), ListenerKind.DNS)
RULES = (Rule(1, "direct", clients=parse_networks("10.0.0.0/8")), Rule(2, None))


@pytest.mark.parametrize(
    ("config", "exposed"),
    [
        pytest.param(Config(Server(listen=(HOME,))), (), id="loopback"),
        pytest.param(Config(Server(listen=(WORLD,))), (WORLD,), id="beyond"),
        pytest.param(Config(Server(listen=(WORLD, HOME, EVERYBODY))), (WORLD, EVERYBODY), id="both"),
        pytest.param(Config(Server(listen=(WORLD,)), users=(CAROL,)), (), id="beyond, with users"),
        pytest.param(Config(Server(listen=(WORLD,), open=True)), (), id="beyond, and meant so"),
        pytest.param(Config(Server(listen=(BALANCED, BY_SOCKET))), (BALANCED, BY_SOCKET), id="for load balancers"),
        pytest.param(Config(Server(listen=(BALANCED, BY_SOCKET)), rules=RULES), (), id="for those, with rules"),
        pytest.param(Config(Server(listen=(NAMES, WORLD)), users=(CAROL,)), (NAMES,), id="DNS, which has no login"),
        pytest.param(Config(Server(listen=(NAMES,)), users=(CAROL,), rules=RULES), (), id="DNS, with rules"),
    ],
)
def test_the_listeners_that_strangers_could_use(config: Config, exposed: tuple[Listener, ...]) -> None:
    assert config.exposed == exposed


def test_the_complaint_says_what_to_do() -> None:
    assert "declare [[users]]; or [[rules]] with `from`" in open_to_all(WORLD)
    assert open_to_all(NAMES).startswith("0.0.0.0:53 can be reached from beyond this machine, and DNS has no login: ")


def test_hops_in_no_chain_are_no_reason_to_go_without_them() -> None:
    hop = Hop("paris", HopProtocol.SOCKS5, Address("10.0.0.1", 1080))
    assert Config(hops={"paris": hop}).default_chain is None
