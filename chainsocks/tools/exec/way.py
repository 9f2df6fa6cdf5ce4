"""Which chains the connections of a program take: a configuration for the server of `chainsocks exec`.

1. With a chain of its own, every connection goes through it, and the rules of the file can only deny.
2. Without, the rules and the chain "default" of the file decide.
3. Where nothing would go through a chain, there is no configuration: the program shall not run directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.choices import Udp
from chainsocks.config.control import Control
from chainsocks.config.hops import parse_hop_url
from chainsocks.config.listeners import Listener, ListenerKind
from chainsocks.config.models import Config, Ident, Server, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.config.rules import DIRECTLY, Hosts, Rule
from chainsocks.config.suggest import did_you_mean
from chainsocks.config.web import Web
from chainsocks.errors import ConfigError, Problem
from chainsocks.protocol.address import Address, printable
from chainsocks.tools.exec.names import POOLS

__all__ = ["carries_datagrams", "config_inside", "direct_ways"]

NO_CHAIN = (
    "there is no chain to send connections through: give --hop URL, or --chain NAME or rules of a configuration file "
    "(-c FILE); nothing was run"
)

_NO_SUCH_NAME = Rule(0, None, Hosts(networks=POOLS))
"""Addresses of the pool that no name has any more, or ever had."""


def config_inside(
    config: Config, chain: str | None, hops: tuple[str, ...], listeners: tuple[Address, ...], login: str = ""
) -> Config:
    """Return the configuration of a server whose listeners have the connections of a program.

    With a `login`, they are ordinary listeners, for a user with this password.

    Logins, limits of clients' listeners and the control socket are those of `chainsocks serve`, and are left out.

    Raises:
        ConfigError: there is no such chain, or a URL is not a hop's; or no chain at all.
    """
    own = _own_chain(config, chain, hops)
    if own:
        rules = tuple(replace(each, chain="default", resolve=False) if each.chain else each for each in config.rules)
        config = replace(config, chains={"default": own}, rules=rules)
    elif not any(each.hops for each in _chains_in_use(config)):
        raise ConfigError([Problem("", NO_CHAIN)])
    kind = ListenerKind.SOCKS if login else ListenerKind.REDIRECT
    users = (User("exec", PlainPassword(login.encode())),) if login else ()
    server = replace(
        config.server,
        listen=tuple(Listener(each, kind) for each in listeners),
        workers=1,
        gssapi=None,
        ident=Ident.OFF,
        private=Server().private,
    )
    rules = (_NO_SUCH_NAME, *config.rules)
    return replace(config, server=server, users=users, rules=rules, control=Control(), web=Web())


def _own_chain(config: Config, chain: str | None, hops: tuple[str, ...]) -> Chain | None:
    """Return the chain that the options name; None without such options."""
    if hops:
        try:
            return Chain(*map(parse_hop_url, hops))
        except ValueError as error:
            raise ConfigError([Problem("--hop", str(error))]) from None
    if chain is None:
        return None
    found = config.chains.get(chain)
    if chain == DIRECTLY or (found and not found.hops):
        raise ConfigError([Problem("--chain", f"{printable(chain)} has no hops: it is no chain; nothing was run")])
    if found is None:
        known = did_you_mean(chain, config.chains) or f"; the file has {', '.join(config.chains) or 'none'}"
        raise ConfigError([Problem("--chain", f"no chain is called {printable(chain)}{known}")])
    return found


def _chains_in_use(config: Config) -> Iterator[Chain]:
    """Yield the chains that a connection may take."""
    if config.default_chain:
        yield config.default_chain
    for rule in config.rules:
        if rule.chain and rule.chain in config.chains:
            yield config.chains[rule.chain]


def carries_datagrams(config: Config) -> bool:
    """Return whether every chain that a connection may take carries UDP, as far as the configuration tells."""
    chains = [config.chains.get(rule.chain, DIRECT) for rule in config.rules if rule.chain]
    chains += [config.default_chain] if config.default_chain else []
    return all(chain.hops and chain.udp is Udp.NESTED for chain in chains)


def direct_ways(config: Config) -> str:
    """Say what a configuration sends past all chains; nothing where that is nothing."""
    direct = [
        f"rule {rule.number} ({rule})"
        for rule in config.rules
        if rule.chain and not config.chains.get(rule.chain, DIRECT).hops
    ]
    if config.default_chain and not config.default_chain.hops:
        direct.append("what no rule matches")
    return printable(f"goes direct, past all chains: {'; '.join(direct)}") if direct else ""
