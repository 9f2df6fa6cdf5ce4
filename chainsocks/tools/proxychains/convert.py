"""Say in the form of this program's configuration what a proxychains.conf says, with comments for what cannot be said.

Every connection takes the same proxies in the same order as through proxychains, as long as all of them work. A list
with a proxy that cannot be a hop here is not used without it: the last rule then refuses all requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from os import fsencode
from urllib.parse import quote

from chainsocks.config.kinds import DEFAULT_PORT
from chainsocks.config.written import Part, Tables, Value
from chainsocks.protocol.address import Address, printable
from chainsocks.tools.proxychains.parse import Kind, LocalNet, Mode, Names, Proxy, ProxychainsFile

__all__ = ["Converted", "convert"]

_PROTOCOLS: Mapping[Kind, str] = {Kind.SOCKS4: "socks4a", Kind.SOCKS5: "socks5", Kind.HTTP: "http"}
"""The kinds of proxies that can be hops. What proxychains calls SOCKS4 is SOCKS4a for names."""

_EVERYTHING_REFUSED = "Until then, this rule refuses everything, so that no request takes a chain without its proxies."


@dataclass(frozen=True, slots=True)
class Converted:
    """A configuration, and whether it does all that the file says."""

    parts: tuple[Part, ...]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class _Hops:
    """The proxies that can be hops, by the names that they get here, in the order of the list; and the others."""

    proxies: Mapping[str, Proxy]
    left_out: tuple[Proxy, ...]

    def distinct(self) -> dict[str, int]:
        """Return the names of hops, each proxy once, with the number of times that it is in the list."""
        first: dict[tuple[Value, ...], str] = {}
        names = [first.setdefault(_identity(proxy), name) for name, proxy in self.proxies.items()]
        return dict(Counter(names))


@dataclass(slots=True)
class _Routing:
    """The groups and the chain that use the hops."""

    chain: dict[str, Value]
    groups: dict[str, Value] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    is_possible: bool = True


def convert(file: ProxychainsFile, source: str) -> Converted:
    """Make the parts of a configuration; `source` is the name of the file, which a comment has."""
    known = [proxy for proxy in file.proxies if proxy.kind in _PROTOCOLS]
    others = tuple(proxy for proxy in file.proxies if proxy.kind not in _PROTOCOLS)
    hops = _Hops({f"hop{number}": proxy for number, proxy in enumerate(known, 1)}, others)
    routing = _route(file, hops)
    is_whole = routing.is_possible and not others
    parts = [
        Part(comments=tuple(_preface(file, source))),
        Part({"server": {"listen": [{"address": _listen(file)}]}}, ("Programs use this SOCKS server.",)),
        _timeouts(file),
        Part(
            {"hops": {name: _hop(proxy, file.names) for name, proxy in hops.proxies.items()}},
            (*_about_hops(file, others),),
        ),
        Part({"groups": routing.groups} if routing.groups else {}),
        Part(_chains(routing) if routing.is_possible and known else {}, (*routing.comments,)),
        _rules(file, is_whole),
    ]
    return Converted(tuple(part for part in parts if part.tables or part.comments), is_whole)


def _chains(routing: _Routing) -> Tables:
    """Return the table of the only chain: a list, if it has nothing but hops."""
    chain = routing.chain
    return {"chains": {"default": chain if chain.keys() - {"hops"} else chain["hops"]}}


def _preface(file: ProxychainsFile, source: str) -> Iterator[str]:
    yield f"Made by `chainsocks import` from {printable(source)}. Logins that are in it are here, too."
    yield from (f"Line {remark.line}: {remark.text}." for remark in file.remarks)


def _listen(file: ProxychainsFile) -> str:
    """Choose a port of 127.0.0.1 at which none of the proxies listens."""
    taken = {proxy.port for proxy in file.proxies if not _is_name(proxy.host) and _is_here(proxy.host)}
    return f"127.0.0.1:{next(port for port in range(DEFAULT_PORT, 65536) if port not in taken)}"


def _is_name(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def _is_here(host: str) -> bool:
    ip = ip_address(host)
    return ip.is_loopback or ip.is_unspecified


def _timeouts(file: ProxychainsFile) -> Part:
    table: dict[str, Value] = {"dial": "off", "idle": "off"}
    comments = [
        "proxychains waits tcp_read_time_out for each answer of a proxy. `hop` is the limit of all answers of one hop "
        "together. There, too, neither the whole chain nor a silent connection has a limit."
    ]
    for key, option, value in (
        ("connect", "tcp_connect_time_out", file.connect_timeout),
        ("hop", "tcp_read_time_out", file.read_timeout),
    ):
        if value == 0:
            comments.append(f"{option} is 0, with which no connection could be made; {key} has its default here.")
        else:
            table[key] = "off" if value < 0 else value // 1000 if value % 1000 == 0 else value / 1000
    return Part({"timeouts": table}, tuple(comments))


def _about_hops(file: ProxychainsFile, left_out: tuple[Proxy, ...]) -> Iterator[str]:
    match file.names:
        case Names.HERE:
            yield 'Without proxy_dns, names are resolved by this machine: resolve = "local".'
        case Names.THREAD:
            yield "As with proxy_dns, names go to the last proxy; here, those that are in /etc/hosts do so as well."
        case Names.SCRIPT | Names.DAEMON:
            yield f"Names go to the last proxy; {file.names} is not needed for that."
    for proxy in left_out:
        words = [proxy.kind, proxy.host, str(proxy.port), proxy.user, proxy.password]
        yield f"Line {proxy.line}: {printable(' '.join(filter(None, words)))}"
        yield "There are no raw hops: one that forwards what it is sent cannot be asked for the next hop."


def _identity(proxy: Proxy) -> tuple[Value, ...]:
    """Return what makes two lines the same proxy."""
    return proxy.kind, proxy.host, proxy.port, *_login(proxy)


def _login(proxy: Proxy) -> tuple[str, str]:
    """Return user and password as they are sent. SOCKS4 has no password, and HTTP's user ends at the first colon."""
    if proxy.kind is Kind.SOCKS4:
        return proxy.user, ""
    if proxy.kind is Kind.HTTP and ":" in proxy.user:
        user, _, rest = proxy.user.partition(":")
        return user, f"{rest}:{proxy.password}"
    return proxy.user, proxy.password


def _hop(proxy: Proxy, names: Names) -> dict[str, Value]:
    address = str(Address(proxy.host, proxy.port))
    table: dict[str, Value] = {"protocol": _PROTOCOLS[proxy.kind], "address": address}
    user, password = _login(proxy)
    if _is_text(user) and _is_text(password):
        if proxy.kind is not Kind.SOCKS4 and proxy.user:
            table |= {"username": user, "password": password}
        elif proxy.user:
            table["user_id"] = user
    else:
        login = [quote(fsencode(text), safe="") for text in (user, password)]
        userinfo = login[0] if proxy.kind is Kind.SOCKS4 else ":".join(login)
        table = {"url": f"{_PROTOCOLS[proxy.kind]}://{userinfo}@{address}"}
    if names is Names.HERE:
        table["resolve"] = "local"
    return table


def _is_text(text: str) -> bool:
    try:
        return bool(text.encode()) or True
    except UnicodeEncodeError:
        return False


def _route(file: ProxychainsFile, hops: _Hops) -> _Routing:
    names = list(hops.proxies)
    match file.mode:
        case Mode.STRICT:
            return _Routing({"hops": names}, comments=["As strict_chain: all hops, in this order."])
        case Mode.DYNAMIC:
            comment = "As dynamic_chain: all hops in this order, without those that do not work."
            return _Routing({"hops": names, "skip_dead": True}, comments=[comment])
    distinct = hops.distinct()
    if not 1 <= file.length <= len(distinct):
        problem = f"chain_len is {file.length}, and the list has {len(distinct)} different proxies that can be hops"
        return _Routing({}, comments=[f"{problem}, so there is no chain."], is_possible=False)
    if file.mode is Mode.RANDOM:
        return _random(distinct, file.length)
    return _round_robin(list(distinct), file.length, len(hops.proxies))


def _random(distinct: Mapping[str, int], length: int) -> _Routing:
    pool: dict[str, Value] = {"hops": list(distinct), "pick": "random"}
    if repeated := {name: float(count) for name, count in distinct.items() if count > 1}:
        pool["weights"] = repeated
    comment = f"As random_chain with chain_len = {length}: so many hops, chosen at random for each connection."
    return _Routing({"hops": ["pool"] * length}, {"pool": pool}, [comment])


def _round_robin(names: list[str], length: int, listed: int) -> _Routing:
    """Give each place a group with the hops that stand there in turn."""
    comments = [
        f"As round_robin_chain with chain_len = {length}: each chain begins behind the last hop of the one before. "
        "proxychains begins anew in each process."
    ]
    if listed > len(names):
        comments.append("A proxy that is listed several times has one turn here.")
    starts = _starts(len(names), length)
    if len(starts) == 1:
        return _Routing({"hops": list(names)}, comments=comments)
    groups: dict[str, Value] = {}
    for place in range(length):
        members = [names[(start + place) % len(names)] for start in starts]
        groups[f"place{place + 1}"] = {"hops": members, "pick": "round-robin"}
    return _Routing({"hops": list(groups)}, groups, comments)


def _starts(count: int, length: int) -> list[int]:
    """Return where the chains of one round begin, as indices in a list of `count` proxies.

    A chain that comes to the end of the list goes on at its beginning. If it takes one proxy there, proxychains 4.16
    does not count that one: the next chain begins at the beginning as well.
    """
    starts = [0]
    while True:
        following = starts[-1] + length
        if following >= count:
            following = following - count if following > count + 1 else 0
        if following in starts:
            return starts
        starts.append(following)


def _rules(file: ProxychainsFile, is_whole: bool) -> Part:  # noqa: FBT001
    rules: list[Value] = []
    comments: list[str] = []
    by_port: dict[int, list[LocalNet]] = {}
    for local in file.local:
        by_port.setdefault(local.port, []).append(local)
    for port, nets in by_port.items():
        rule: dict[str, Value] = {"to": list(dict.fromkeys(str(net.network) for net in nets))}
        if port:
            rule["ports"] = [port]
        if file.names is Names.HERE:
            rule["resolve"] = True
        rules.append(rule | {"chain": "direct"})
    if rules:
        comments.append("As localnet: these destinations are connected to without a proxy.")
    if not is_whole:
        comments += ["Mend the chain above, and take out the last rule.", _EVERYTHING_REFUSED]
        rules.append({"deny": True})
    return Part({"rules": rules} if rules else {}, tuple(comments))
