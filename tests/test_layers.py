"""The house as it is drawn: imports point downward, scopes are opened where deadlines are kept, tests mirror it.

Each law is a function from modules to complaints. It is held against the package, and against a few lines that break
it, so that a law that sees nothing is seen itself.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from chainsocks.cli import cli

ROOT = Path(__file__).parent.parent

FLOORS = {
    "protocol": 0,
    "config": 1,
    "routing": 2,
    "net": 2,
    "gss": 2,
    "chain": 3,
    "relay": 3,
    "session": 4,
    "server": 5,
    "tools": 6,
    "commands": 7,
    "cli": 8,
}
"""A room imports itself and lower floors; never its neighbour."""


@dataclass(frozen=True)
class SideRoom:
    """A room beside the floors."""

    imports: frozenset[str]
    """The rooms that it may import."""
    users: int
    """The lowest floor that may import it."""


SIDE_ROOMS = {
    "errors": SideRoom(frozenset({"protocol"}), users=1),
    "egress": SideRoom(frozenset({"protocol"}), users=1),  # a value of the configuration, which sockets are prepared by
    "network": SideRoom(frozenset({"protocol", "egress"}), users=2),
    "sockets": SideRoom(frozenset({"protocol", "egress"}), users=2),
    "signals": SideRoom(frozenset(), users=5),
    "shares": SideRoom(frozenset({"protocol"}), users=2),
    "limits": SideRoom(frozenset({"protocol", "errors", "config", "shares"}), users=3),
    "datagrams": SideRoom(frozenset({"protocol"}), users=3),
    "observe": SideRoom(frozenset({"protocol", "errors", "datagrams", "config"}), users=3),
    "control": SideRoom(frozenset({"protocol", "errors", "config", "observe"}), users=5),
    "web": SideRoom(  # its own process
        frozenset({"protocol", "errors", "config", "observe", "control", "signals"}), users=99
    ),
    "namespace": SideRoom(frozenset({"errors"}), users=5),  # of a program that the server is outside of
    "client": SideRoom(
        frozenset(
            {"protocol", "errors", "egress", "network", "sockets", "datagrams", "config", "routing", "net", "chain"}
        ),
        users=6,
    ),  # of net it needs what runs under any event loop: TLS, and the stream on a socket
    "bridge": SideRoom(  # callers without trio, and what they run on it; the server only for `serve`
        frozenset({"protocol", "errors", "network", "config", "net", "chain", "relay", "observe", "client", "server"}),
        users=99,
    ),
    "sync": SideRoom(frozenset({"protocol", "config", "bridge"}), users=99),
    "integrations": SideRoom(frozenset({"protocol", "errors", "config", "client", "bridge", "sync"}), users=99),
    "library": SideRoom(frozenset({"protocol", "errors", "egress", "config", "client"}), users=99),
    "chainsocks": SideRoom(frozenset(), users=99),  # the front door, which loads the library on first use
    "__main__": SideRoom(frozenset({"signals"}), users=99),  # the program, which loads the command line
}

SCOPES = {"CancelScope", "fail_after", "fail_at", "move_on_after", "move_on_at"}
ROOMS_WITH_SCOPES = {"session", "chain", "relay", "server", "client", "bridge", "integrations", "control"}
"""The client has what the dial arms for it, the bridge the scopes of its relays, integrations the limits that an HTTP
client passes, and the control room its own clients, which are no sessions."""

NUMBERS = {
    (
        "chainsocks.chain.eyeballs",
        "ATTEMPT_DELAY",
    ): "RFC 8305's pace for the next attempt; nothing ends with it",
    ("chainsocks.chain.eyeballs", "LAST_WAIT"): "a dial that has failed ends that much later where addresses may come",
    ("chainsocks.server.admission", "TICK"): "it looks again whether a session makes room; nothing ends with it",
    ("chainsocks.control.serve", "TAKE_LIMIT"): "clients of the control socket are commands, and no sessions",
    ("chainsocks.server.control_process", "JOINING"): "the start of the control process, which has no sessions",
    (
        "chainsocks.server.web",
        "LEAVING",
    ): "a process that has nothing left to serve, and is killed then",
    ("chainsocks.session.lingering_close", "LINGER"): "RFC 1928's ten seconds for a client that was refused",
}
"""Seconds that bound something and are no deadline of ``[timeouts]``, each with its reason."""

WITHOUT_TESTS_OF_THEIR_OWN = {
    "chainsocks.control.messages": "values, which tests/control/test_wire.py writes and reads",
    "chainsocks.network": "protocols, and a function that tests/net/test_stream.py tests",
    "chainsocks.server.orders": "messages, which the tests of workers and of their parent send",
}
"""Modules that have no test module at the mirrored path, each with its reason."""


@dataclass(frozen=True)
class Import:
    module: str
    names: tuple[str, ...]
    line: int


class Module:
    """One file of the package, parsed."""

    def __init__(self, name: str, source: str, *, is_package: bool) -> None:
        self.name = name
        self.is_package = is_package
        self.tree = ast.parse(source)
        self.nodes = list(ast.walk(self.tree))

    @property
    def room(self) -> str:
        return self.name.split(".")[1] if "." in self.name else self.name

    @cached_property
    def imports(self) -> list[Import]:
        """Its imports, in the order of their lines."""
        imports: list[Import] = []
        nodes = (node for node in self.nodes if isinstance(node, ast.Import | ast.ImportFrom))
        for node in sorted(nodes, key=lambda node: node.lineno):
            if isinstance(node, ast.Import):
                imports += (Import(alias.name, (), node.lineno) for alias in node.names)
            else:
                names = tuple(alias.name for alias in node.names)
                imports.append(Import("." * node.level + (node.module or ""), names, node.lineno))
        return imports

    @property
    def exported(self) -> list[str] | None:
        """What ``__all__`` has; None without one."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                exported: list[str] = ast.literal_eval(node.value)
                return exported
        return None


Modules = Mapping[str, Module]
Law = Callable[[Modules], Iterator[str]]


def read_package(sources: Mapping[str, str]) -> Modules:
    """Parse files, given by their paths from the root of the project."""
    modules = {}
    for path, source in sources.items():
        parts = path.removesuffix(".py").split("/")
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = Module(name, source, is_package=is_package)
    return modules


def ours(modules: Modules, module: Module) -> Iterator[tuple[Module, Import]]:
    """The modules of the package that a module imports."""
    for imported in module.imports:
        inner = [f"{imported.module}.{name}" for name in imported.names]
        targets = [name if name in modules else imported.module for name in inner] or [imported.module]
        yield from ((modules[target], imported) for target in dict.fromkeys(targets) if target in modules)


def may_import(room: str, other: str) -> bool:
    if room == other:
        return True
    if room in SIDE_ROOMS:
        return other in SIDE_ROOMS[room].imports
    if other in SIDE_ROOMS:
        return FLOORS[room] >= SIDE_ROOMS[other].users
    return FLOORS[room] > FLOORS[other]


def imports_point_downward(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if module.room not in FLOORS.keys() | SIDE_ROOMS.keys():
            yield f"{module.name} is on no floor"
            continue
        for other, imported in ours(modules, module):
            if not may_import(module.room, other.room):
                yield f"{module.name}:{imported.line} imports {other.name}"


def imports_stand_at_the_top(modules: Modules) -> Iterator[str]:
    """Not in functions, not under conditions, and none for the type checker only."""
    for module in modules.values():
        top = {node.lineno for node in module.tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
        for imported in module.imports:
            if imported.line not in top or "TYPE_CHECKING" in imported.names:
                yield f"{module.name}:{imported.line} imports {imported.module}"


def imports_are_absolute(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for imported in module.imports:
            if imported.module.startswith("."):
                yield f"{module.name}:{imported.line} imports {imported.module}"


def imports_have_no_cycle(modules: Modules) -> Iterator[str]:
    graph = {module.name: {other.name for other, _ in ours(modules, module)} for module in modules.values()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " <- ".join(error.args[1])


def imports_are_of_public_names(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for other, imported in ours(modules, module):
            for name in imported.names:
                if f"{imported.module}.{name}" not in modules and name not in (other.exported or ()):
                    yield f"{module.name}:{imported.line} imports {name} of {other.name}"


def low_rooms_need_the_standard_library_only(modules: Modules) -> Iterator[str]:
    """And h11, which does no I/O either."""
    for module in modules.values():
        for imported in module.imports:
            top = imported.module.partition(".")[0]
            if module.room in {"protocol", "sockets"} and top not in {*sys.stdlib_module_names, "chainsocks", "h11"}:
                yield f"{module.name}:{imported.line} imports {imported.module}"


def protocol_does_no_io(modules: Modules) -> Iterator[str]:
    """Nor does it know the time, or log. Of sockets it knows how their addresses are written."""
    banned = {"asyncio", "io", "logging", "os", "select", "selectors", "socket", "threading", "time"}
    written = {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}
    for module in modules.values():
        for imported in module.imports:
            harmless = imported.module == "socket" and set() < set(imported.names) <= written
            if module.room == "protocol" and imported.module.partition(".")[0] in banned and not harmless:
                yield f"{module.name}:{imported.line} imports {imported.module}"


def modules_say_what_they_are(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if not ast.get_docstring(module.tree):
            yield f"{module.name} has no docstring"
        elif not ast.get_docstring(module.tree, clean=True).partition("\n")[0].endswith((".", ":")):  # type: ignore[union-attr]
            yield f"{module.name}: the first line of its docstring is no sentence"


def modules_say_what_is_public(modules: Modules) -> Iterator[str]:
    """But for rooms, whose ``__init__`` holds nothing, and for the front door, which passes on the library's names."""
    for module in modules.values():
        empty_room = module.is_package and len(module.tree.body) == 1
        if module.exported is None and not empty_room and module.name != "chainsocks":
            yield f"{module.name} has no __all__"
        defined = {node.id for node in module.nodes if isinstance(node, ast.Name)}
        defined |= {node.name for node in module.tree.body if hasattr(node, "name")}
        defined |= {name for imported in module.imports for name in imported.names}
        for name in set(module.exported or ()) - defined:
            yield f"{module.name} has no {name}"


def scopes(module: Module) -> Iterator[ast.Call]:
    for node in module.nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in SCOPES:
            yield node


def scopes_are_opened_where_deadlines_are_kept(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if module.room not in ROOMS_WITH_SCOPES:
            for call in scopes(module):
                yield f"{module.name}:{call.lineno} opens {ast.unparse(call)}"


def limits_come_from_the_configuration(modules: Modules) -> Iterator[str]:
    """No number stands in a scope, and no constant for one but those that are known."""
    for module in modules.values():
        for call in scopes(module):
            for node in ast.walk(call):
                constant = isinstance(node, ast.Name) and node.id.isupper() and (module.name, node.id) not in NUMBERS
                if constant or (isinstance(node, ast.Constant) and isinstance(node.value, int | float)):
                    yield f"{module.name}:{call.lineno} opens {ast.unparse(call)}"


def classes(module: Module) -> Iterator[ast.ClassDef]:
    yield from (node for node in module.nodes if isinstance(node, ast.ClassDef))


def is_protected(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def protected_members(node: ast.ClassDef) -> set[str]:
    """The protected names that a class defines: methods, class attributes, slots, and what it assigns to ``self``."""
    names = {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and is_named(inner.value, "self"):
            names.add(inner.attr)
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            names.add(inner.id)
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str) and inner.value.isidentifier():
            names.add(inner.value)  # in __slots__
    return {name for name in names if is_protected(name)}


def protected_members_stay_in_their_room(modules: Modules) -> Iterator[str]:
    """A class neither uses nor overrides a protected member of a base class in another room."""
    where = {(module.name, node.name): node for module in modules.values() for node in classes(module)}
    for module in modules.values():
        imported: dict[str, Module] = {}
        for other, one in ours(modules, module):
            imported |= dict.fromkeys(one.names or (other.name,), other)
        for node in classes(module):
            for base in node.bases:
                room, _, name = ast.unparse(base).rpartition(".")
                other_module = imported.get(room or name)
                if other_module is None or other_module.room == module.room:
                    continue
                foreign = where.get((other_module.name, name))
                inherited = protected_members(foreign) if foreign else set()
                own = protected_members(node) - inherited
                used = {
                    inner.attr
                    for inner in ast.walk(node)
                    if isinstance(inner, ast.Attribute)
                    and (
                        is_named(inner.value, "self")
                        or (isinstance(inner.value, ast.Call) and is_named(inner.value.func, "super"))
                    )
                }
                methods = {inner.name for inner in node.body if hasattr(inner, "name")}
                for member in sorted(name for name in (used | methods) - own if is_protected(name)):
                    yield f"{module.name}:{node.lineno} {node.name} uses {member} of {ast.unparse(base)}"


LAWS: dict[Law, tuple[dict[str, str], list[str]]] = {
    protected_members_stay_in_their_room: (
        {
            "chainsocks/chain/walk.py": (
                "class Walk:\n"
                "    __slots__ = ('_leg',)\n"
                "    def _step(self): self._leg = 1\n"
                "    def place(self): return self._leg\n"
                "class Longer(Walk):\n"
                "    def _step(self): return self._leg\n"
            ),
            "chainsocks/tools/probe.py": (
                "from chainsocks.chain import walk\n"
                "from chainsocks.chain.walk import Walk\n"
                "class Question(Walk):\n"
                "    def ask(self): self._asked = True; return self._leg\n"
                "class Louder(walk.Walk):\n"
                "    def _step(self): return super()._step()\n"
                "class Polite(Walk):\n"
                "    def ask(self): self._own = 1; return self._own + self.place()\n"
            ),
        },
        [
            "chainsocks.tools.probe:3 Question uses _leg of Walk",
            "chainsocks.tools.probe:5 Louder uses _step of walk.Walk",
        ],
    ),
    imports_point_downward: (
        {
            "chainsocks/net/tcp.py": "from chainsocks.relay.pump import pump\nfrom chainsocks import client",
            "chainsocks/relay/pump.py": "import chainsocks.chain.walk\nimport chainsocks.sockets",
            "chainsocks/chain/walk.py": "from chainsocks.net import tcp\nfrom chainsocks.config.models import Config",
            "chainsocks/config/models.py": "from chainsocks.errors import DialError\nimport chainsocks.observe.log",
            "chainsocks/sockets.py": "from chainsocks.protocol.address import A\nimport chainsocks.errors",
            "chainsocks/errors.py": "from chainsocks.protocol.errors import E\nfrom chainsocks.config.models import C",
            "chainsocks/protocol/errors.py": "from chainsocks.errors import DialError",
            "chainsocks/observe/log.py": "import chainsocks",
            "chainsocks/client.py": "import chainsocks.relay.pump",
            "chainsocks/library.py": "import chainsocks.client",
            "chainsocks/__init__.py": "import chainsocks.library",
            "chainsocks/attic/box.py": "",
        },
        [
            "chainsocks.net.tcp:1 imports chainsocks.relay.pump",
            "chainsocks.net.tcp:2 imports chainsocks.client",
            "chainsocks.relay.pump:1 imports chainsocks.chain.walk",
            "chainsocks.config.models:2 imports chainsocks.observe.log",
            "chainsocks.sockets:2 imports chainsocks.errors",
            "chainsocks.errors:2 imports chainsocks.config.models",
            "chainsocks.protocol.errors:1 imports chainsocks.errors",
            "chainsocks.observe.log:1 imports chainsocks",
            "chainsocks.client:1 imports chainsocks.relay.pump",
            "chainsocks:1 imports chainsocks.library",
            "chainsocks.attic.box is on no floor",
        ],
    ),
    imports_stand_at_the_top: (
        {
            "chainsocks/cli.py": "import os\ndef f():\n    import sys\nif os:\n    from x import y\n"
            "from typing import TYPE_CHECKING",
        },
        ["chainsocks.cli:3 imports sys", "chainsocks.cli:5 imports x", "chainsocks.cli:6 imports typing"],
    ),
    imports_are_absolute: (
        {"chainsocks/chain/walk.py": "from .legs import Leg\nfrom .. import errors\nimport os"},
        ["chainsocks.chain.walk:1 imports .legs", "chainsocks.chain.walk:2 imports .."],
    ),
    imports_have_no_cycle: (
        {
            "chainsocks/chain/a.py": "from chainsocks.chain import b",
            "chainsocks/chain/b.py": "from chainsocks.chain.c import c",
            "chainsocks/chain/c.py": "def c():\n    import chainsocks.chain.a",
        },
        ["chainsocks.chain.a <- chainsocks.chain.c <- chainsocks.chain.b <- chainsocks.chain.a"],
    ),
    imports_are_of_public_names: (
        {
            "chainsocks/chain/a.py": "from chainsocks.chain import b\nfrom chainsocks.chain.b import B, helper",
            "chainsocks/chain/b.py": "__all__ = ['B']\nB = 1\ndef helper(): ...",
        },
        ["chainsocks.chain.a:2 imports helper of chainsocks.chain.b"],
    ),
    low_rooms_need_the_standard_library_only: (
        {
            "chainsocks/protocol/a.py": "import re\nimport anyio.abc\nfrom chainsocks.protocol import b",
            "chainsocks/sockets.py": "import socket\nimport trio",
            "chainsocks/net/a.py": "import anyio",
        },
        ["chainsocks.protocol.a:2 imports anyio.abc", "chainsocks.sockets:2 imports trio"],
    ),
    protocol_does_no_io: (
        {
            "chainsocks/protocol/a.py": "import re\nimport logging\nimport socket\nimport os.path",
            "chainsocks/protocol/b.py": "from socket import inet_pton\nfrom socket import inet_pton, socket",
            "chainsocks/net/a.py": "import socket",
        },
        [
            "chainsocks.protocol.a:2 imports logging",
            "chainsocks.protocol.a:3 imports socket",
            "chainsocks.protocol.a:4 imports os.path",
            "chainsocks.protocol.b:2 imports socket",
        ],
    ),
    modules_say_what_they_are: (
        {
            "chainsocks/net/a.py": "import re",
            "chainsocks/net/b.py": '"""Streams"""',
            "chainsocks/net/c.py": '"""Streams.\n\nLean ones"""',
        },
        ["chainsocks.net.a has no docstring", "chainsocks.net.b: the first line of its docstring is no sentence"],
    ),
    modules_say_what_is_public: (
        {
            "chainsocks/net/__init__.py": '"""The network."""',
            "chainsocks/chain/__init__.py": '"""The chain."""\nimport re',
            "chainsocks/net/a.py": '"""A."""\nA = 1',
            "chainsocks/net/b.py": '"""B."""\n__all__ = ["B", "C", "d"]\nB = 1\ndef d(): ...',
        },
        ["chainsocks.chain has no __all__", "chainsocks.net.a has no __all__", "chainsocks.net.b has no C"],
    ),
    scopes_are_opened_where_deadlines_are_kept: (
        {
            "chainsocks/net/a.py": "with trio.move_on_after(limit): ...\nwith CancelScope(): ...\ntrio.sleep(limit)",
            "chainsocks/chain/a.py": "with anyio.fail_after(limit): ...",
        },
        ["chainsocks.net.a:1 opens trio.move_on_after(limit)", "chainsocks.net.a:2 opens CancelScope()"],
    ),
    limits_come_from_the_configuration: (
        {
            "chainsocks/chain/a.py": "move_on_after(min(limit, 10))\nfail_after(limit)\nfail_at(now() + LIMIT)",
            "chainsocks/chain/eyeballs.py": "move_on_after(ATTEMPT_DELAY)",
        },
        [
            "chainsocks.chain.a:1 opens move_on_after(min(limit, 10))",
            "chainsocks.chain.a:3 opens fail_at(now() + LIMIT)",
        ],
    ),
}
"""Each law, a house that breaks it here and there, and what it has to say of that."""


@pytest.fixture(scope="module")
def modules() -> Modules:
    paths = sorted((ROOT / "chainsocks").rglob("*.py"))
    return read_package({path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths})


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_package_keeps_the_law(modules: Modules, law: Law) -> None:
    assert list(law(modules)) == []


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_law_sees_who_breaks_it(law: Law) -> None:
    sources, complaints = LAWS[law]
    assert list(law(read_package(sources))) == complaints


def test_no_exception_outlives_its_reason(modules: Modules) -> None:
    for name, constant in NUMBERS:
        assert constant in {ast.unparse(node) for call in scopes(modules[name]) for node in ast.walk(call)}
    assert set(WITHOUT_TESTS_OF_THEIR_OWN) <= set(modules)


def missing_tests(modules: Modules, tests: Path) -> list[str]:
    """The modules of the package for which there is no test module at the mirrored path."""
    missing = []
    for name, module in modules.items():
        *rooms, last = name.split(".")[1:] or [""]
        if not module.is_package and not tests.joinpath(*rooms, f"test_{last}.py").exists():
            missing.append(name)
    return missing


def test_each_module_has_its_test_module(modules: Modules) -> None:
    assert missing_tests(modules, ROOT / "tests") == list(WITHOUT_TESTS_OF_THEIR_OWN)


def test_a_module_without_its_test_module_is_seen(tmp_path: Path) -> None:
    modules = read_package({"chainsocks/__init__.py": "", "chainsocks/cli.py": "", "chainsocks/chain/walk.py": ""})
    assert missing_tests(modules, tmp_path) == ["chainsocks.cli", "chainsocks.chain.walk"]
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "test_walk.py").touch()
    (tmp_path / "test_cli.py").touch()
    assert missing_tests(modules, tmp_path) == []


IMPORT = re.compile(r"^\s*(?:from\s+(tests[\w.]*)\s+import\s+(\([^)]*\)|.*)|import\s+(tests[\w.]*))", re.MULTILINE)


def imports_of_test_modules(sources: Mapping[str, str]) -> list[str]:
    """What test modules share belongs into a file of its own: imported from a test module, it hides in there.

    The text is searched, which takes a tenth of the time of parsing all tests.
    """
    complaints = []
    for path, source in sources.items():
        for match in IMPORT.finditer(source):
            module, names, whole = match.groups(default="")
            found = [whole or module, *re.findall(r"\w+", names)]
            complaints += [f"{path} imports {name}" for name in found if name.rpartition(".")[2].startswith("test_")]
    return complaints


def test_no_test_module_is_imported() -> None:
    sources = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted((ROOT / "tests").rglob("*.py"))}
    assert len(sources) > 100
    assert imports_of_test_modules(sources) == []


def test_an_import_of_a_test_module_is_seen() -> None:
    sources = {
        "a.py": "import pytest\nfrom tests import helpers, test_b\nfrom tests.c.test_d import E\n",
        "b.py": "    import tests.test_a\nfrom tests import (\n    helpers,\n    test_c,\n)\n",
        "c.py": "from test_x import y\nfrom tests.helpers import test\ndef test_a(): ...\n",
    }
    assert imports_of_test_modules(sources) == [
        "a.py imports test_b",
        "a.py imports tests.c.test_d",
        "b.py imports tests.test_a",
        "b.py imports test_c",
    ]


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a statement loads in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        check=True,
        text=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


HEAVY = {"trio", "anyio", "asyncio", "pydantic", "click", "rich", "dns", "matplotlib"}


def test_the_library_is_light() -> None:
    assert loaded_by("import chainsocks") & HEAVY == set()
    assert loaded_by("import chainsocks; chainsocks.Chain") & HEAVY == {"anyio"}


LIBRARIES: dict[str, set[str]] = {
    "--version": set(),
    "--help": set(),
    "--nonsense": set(),
    **{f"{name} --help": set() for name in cli.commands},
    "serve --nonsense": set(),
    "hash-password": set(),
    "cert": set(),
    "manual": {"rich"},
    "check FILE": {"rich", "pydantic"},
    "status --control FILE": set(),
    "drain --control FILE": set(),
    "hops --control FILE": {"rich"},
}
"""The heavy libraries that commands need beside click."""

START_EACH = """
import os, sys
from chainsocks.cli import main
commands = sys.argv[1:]
for command in commands:
    if os.fork() == 0:
        sys.argv[1:] = command.split()
        try: main()
        finally: print(*sys.modules, file=open(command.replace(' ', '_'), 'w'))
        sys.exit()
    os.wait()
"""
"""Calls what the program calls, for each command in a process that has loaded nothing else."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The modules that each of the commands loads."""
    folder = tmp_path_factory.mktemp("loaded")
    (folder / "FILE").touch()
    words = [sys.executable, "-c", START_EACH, *LIBRARIES]
    subprocess.run(words, cwd=folder, capture_output=True, check=True, input=b"wonderland")
    return {command: (folder / command.replace(" ", "_")).read_text().split() for command in LIBRARIES}


@pytest.mark.parametrize("command", LIBRARIES)
def test_a_command_starts_without_libraries_that_it_does_not_need(loaded: dict[str, list[str]], command: str) -> None:
    """Each of these libraries takes 20 to 100 ms of CPU to load, which every start would pay."""
    assert {name.partition(".")[0] for name in loaded[command]} & HEAVY == {"click", *LIBRARIES[command]}
    assert "chainsocks.library" not in loaded[command]


def test_a_program_does_not_wait_for_libraries_in_its_own_process() -> None:
    """They are loaded by the process of its chain, beside."""
    for command in ("exec", "shell"):
        assert loaded_by(f"import chainsocks.commands.{command}") & HEAVY == {"click"}


def test_the_server_needs_no_asyncio_and_no_tables() -> None:
    loaded = loaded_by("import chainsocks.commands.serve")
    assert loaded & HEAVY == {"trio", "anyio", "pydantic", "click"}
