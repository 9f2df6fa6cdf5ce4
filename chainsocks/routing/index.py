"""Find the first rule that matches, at a cost that hardly depends on the number of rules.

The rules are sorted into a tree. Each level branches by one condition: host, client, user, port. Rules with the same
value share a branch, which is found by the request's own value: one lookup for a name and one for each name above it,
one bisection for an address or a port. Rules without that condition are a branch of their own. The few rules at the end
of a branch are compared one by one.

1. Of all rules that match, the one with the lowest number is found; the order of keys and branches does not matter.
2. Conditions on commands and versions, and wide ranges of ports, have no level: they are compared at the end.

A tree with the level for hosts alone was tried. Ten thousand rules of all kinds, as `python -m benchmarks.rules` has
them, then cost a request 32 times what ten cost, instead of at most 2 to 4 times; ten thousand rules with a user each
cost 1.5 ms instead of 3 us.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from chainsocks.config.hosts import Host
from chainsocks.config.rules import Rule, Spoken
from chainsocks.protocol.messages import Command
from chainsocks.routing.intervals import AddressIntervals, Interval, Intervals, interval_of

__all__ = ["NONE", "Index", "Question"]

NONE = 2**63
"""Greater than the number of any rule."""

FEW = 4
"""Up to so many rules, comparing one by one is faster than another level."""

NARROW = 1024
"""The most ports that a range may have to get a branch."""


class Question(NamedTuple):
    """Everything that rules may compare."""

    host: Host
    port: int
    """-1 if there is none."""
    client: tuple[bytes, ...]
    user: bytes | None
    command: Command
    version: Spoken


class Index:
    """The rules, sorted by all their conditions; without `where`, by all but the host."""

    def __init__(self, rules: Iterable[Rule], *, where: bool = True) -> None:
        entries = tuple(_Entry(rule.number, frozenset()) for rule in rules)
        self._root = _Builder(rules).grow(entries, _LEVELS if where else _LEVELS[1:])

    def first(self, question: Question, before: int = NONE) -> int:
        """Return the number of the first rule that matches; `before` if there is none with a lower number."""
        return self._root.first(question, before)


class _Node(Protocol):
    def first(self, question: Question, before: int) -> int:
        """As `Index.first`."""


class _Level(Protocol):
    """Branches by one condition."""

    def __init__(self, branches: Mapping[Key, _Node]) -> None: ...

    @staticmethod
    def keys(rule: Rule) -> Iterable[Key]:
        """Return the values of a rule for this condition; none if it has no such condition, or too wide a one."""

    def find(self, question: Question) -> Iterable[_Node]:
        """Return the branches for a question."""


Key = Interval | str | bytes


class _Entry(NamedTuple):
    """A rule on its way through the levels, with the levels that have tested their condition of it."""

    number: int
    passed: frozenset[type[_Level]]


class _Builder:
    """Builds the tree. Nodes with the same entries are one node: a rule with thousands of names has one leaf."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = {rule.number: rule for rule in rules}
        self._tests: dict[_Entry, _Test] = {}
        self._nodes: dict[tuple[int, tuple[_Entry, ...]], _Node] = {}

    def grow(self, entries: tuple[_Entry, ...], levels: Sequence[type[_Level]]) -> _Node:
        """Return the node for `entries`, in the order of their numbers, that branches by `levels`."""
        known = (len(levels), entries)
        if known not in self._nodes:
            # There is always a level for hosts: `_Test` does not compare them.
            done = not levels or (len(entries) <= FEW and levels[0] is not _ByHost)
            self._nodes[known] = self._leaf(entries) if done else self._branch(entries, levels)
        return self._nodes[known]

    def _branch(self, entries: tuple[_Entry, ...], levels: Sequence[type[_Level]]) -> _Node:
        level, *others = levels
        groups: dict[Key, list[_Entry]] = {}
        rest = []
        for entry in entries:
            passed = _Entry(entry.number, entry.passed | {level})
            keys = set(level.keys(self._rules[entry.number]))
            for key in keys:
                groups.setdefault(key, []).append(passed)
            if not keys:
                rest.append(entry)
        remaining = self.grow(tuple(rest), others)
        if not groups:
            return remaining
        return _Branch(level({key: self.grow(tuple(group), others) for key, group in groups.items()}), remaining)

    def _leaf(self, entries: Iterable[_Entry]) -> _Leaf:
        tests = []
        for entry in entries:
            test = self._tests.get(entry)
            if test is None:
                test = self._tests[entry] = _Test(self._rules[entry.number], entry.passed)
            tests.append(test)
            if test.certain:
                break  # a later rule cannot be the first to match here
        return _Leaf(tests)


class _Branch:
    """Rules by the values of one condition, and the rules without it."""

    __slots__ = ("_find", "_rest")

    def __init__(self, level: _Level, rest: _Node) -> None:
        self._find = level.find
        self._rest = rest

    def first(self, question: Question, before: int) -> int:
        for node in self._find(question):
            before = node.first(question, before)
        return self._rest.first(question, before)


class _Leaf:
    """Rules that are compared one by one, in their order."""

    __slots__ = ("_tests",)

    def __init__(self, tests: Iterable[_Test]) -> None:
        self._tests = tuple(tests)

    def first(self, question: Question, before: int) -> int:
        for test in self._tests:
            if test.number >= before:
                break
            if test.passes(question):
                return test.number
        return before


class _Test:
    """The conditions of a rule that no level has tested."""

    __slots__ = ("_clients", "_commands", "_ports", "_users", "_versions", "certain", "number")

    def __init__(self, rule: Rule, passed: frozenset[type[_Level]]) -> None:
        self.number = rule.number
        self._commands, self._versions = rule.commands, rule.versions
        self._users = frozenset() if _ByUser in passed else rule.users
        ports = () if _ByPort in passed else rule.ports
        networks = () if _ByClient in passed else rule.clients
        self._ports = Intervals({Interval(each[0], each[-1]): True for each in ports}) if ports else None
        self._clients = AddressIntervals({interval_of(each): True for each in networks}) if networks else None
        self.certain = not (ports or networks or self._users or self._commands or self._versions)

    def passes(self, question: Question) -> bool:
        return self.certain or not (
            (self._commands and question.command not in self._commands)
            or (self._versions and question.version not in self._versions)
            or (self._users and question.user not in self._users)
            or (self._ports and not self._ports.at(question.port))
            or (self._clients and not self._clients.at(question.client))
        )


class _ByHost:
    """The host: a name, a name with a dot in front for the names below it, or IP addresses."""

    __slots__ = ("_addresses", "_names")

    def __init__(self, branches: Mapping[Key, _Node]) -> None:
        self._names = {key: node for key, node in branches.items() if isinstance(key, str)}
        self._addresses = _intervals(branches)

    @staticmethod
    def keys(rule: Rule) -> Iterable[Key]:
        yield from rule.to.names
        yield from (f".{suffix}" for suffix in rule.to.suffixes)
        yield from map(interval_of, rule.to.networks)

    def find(self, question: Question) -> Iterable[_Node]:
        name, names = question.host.name, self._names
        found: list[_Node] = []
        if name and names:
            if node := names.get(name):
                found.append(node)
            dot = name.find(".", 1)
            while dot > 0:
                if node := names.get(name[dot:]):
                    found.append(node)
                dot = name.find(".", dot + 1)
        if question.host.ips:
            found += self._addresses.at(question.host.ips)
        return found


class _ByClient:
    """The IP address of the client."""

    __slots__ = ("_addresses",)

    def __init__(self, branches: Mapping[Key, _Node]) -> None:
        self._addresses = _intervals(branches)

    @staticmethod
    def keys(rule: Rule) -> Iterable[Key]:
        return map(interval_of, rule.clients)

    def find(self, question: Question) -> Iterable[_Node]:
        return self._addresses.at(question.client)


class _ByUser:
    """The user."""

    __slots__ = ("_users",)

    def __init__(self, branches: Mapping[Key, _Node]) -> None:
        self._users = branches

    @staticmethod
    def keys(rule: Rule) -> Iterable[Key]:
        return rule.users

    def find(self, question: Question) -> Iterable[_Node]:
        node = self._users.get(question.user) if question.user is not None else None
        return (node,) if node else ()


class _ByPort:
    """The port of the destination."""

    __slots__ = ("_ports",)

    def __init__(self, branches: Mapping[Key, _Node]) -> None:
        self._ports = Intervals({key: node for key, node in branches.items() if isinstance(key, Interval)})

    @staticmethod
    def keys(rule: Rule) -> Iterable[Key]:
        return (
            [Interval(ports[0], ports[-1]) for ports in rule.ports]
            if max(map(len, rule.ports), default=0) <= NARROW
            else ()
        )

    def find(self, question: Question) -> Iterable[_Node]:
        return self._ports.at(question.port)


_LEVELS: tuple[type[_Level], ...] = (_ByHost, _ByClient, _ByUser, _ByPort)


def _intervals(branches: Mapping[Key, _Node]) -> AddressIntervals[_Node]:
    return AddressIntervals({key: node for key, node in branches.items() if isinstance(key, Interval)})
