"""A mechanism for GSSAPI that is no secret: contexts and capsules that can be read, and faults at each of their steps.

::

    initiator  "carol for rcmd@proxy"  ->   <-  "welcome"  acceptor        with `legs` questions in between
    a capsule  level, number, data, sum                                   where confidential, data is upside down
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

import anyio
import pytest

from chainsocks.errors import GssError
from chainsocks.protocol.gssapi import Gssapi, Protection

OVERHEAD = 9
"""Bytes of a capsule that are no data."""

UPSIDE_DOWN = bytes(reversed(range(256)))

MODULES = ("chainsocks.chain.gssapi", "chainsocks.session.gssapi")


@dataclass
class FakeContext:
    """One side."""

    delay: float = 0
    error: str = ""
    """Why the first step fails; empty where it does not."""
    complete: bool = False
    steps: int = 0
    sent: int = 0
    received: int = 0

    async def step(self, token: bytes) -> bytes:
        await anyio.sleep(self.delay)
        if self.error:
            raise GssError(self.error)
        self.steps += 1
        return self.answer(token)

    def answer(self, token: bytes) -> bytes:
        raise NotImplementedError

    def wrap(self, data: bytes, protection: Protection) -> bytes:
        assert self.complete
        body = data.translate(UPSIDE_DOWN) if protection is Protection.CONFIDENTIALITY else data
        self.sent += 1
        capsule = bytes((protection,)) + self.sent.to_bytes(4, "big") + body
        return capsule + crc32(capsule).to_bytes(4, "big")

    def unwrap(self, token: bytes, protection: Protection) -> bytes:
        assert self.complete
        if len(token) < OVERHEAD or crc32(token[:-4]) != int.from_bytes(token[-4:], "big"):
            raise GssError("a capsule was changed")
        self.received += 1
        if int.from_bytes(token[1:5], "big") != self.received:
            raise GssError("a capsule is out of turn")
        if token[0] < protection:
            raise GssError("a capsule is less protected than was agreed")
        body = token[5:-4]
        return body.translate(UPSIDE_DOWN) if token[0] == Protection.CONFIDENTIALITY else body


@dataclass
class FakeInitiator(FakeContext):
    user: str = "carol@TEST"
    service: str = "rcmd"
    host: str = "proxy"

    def answer(self, token: bytes) -> bytes:
        match token:
            case b"":
                return f"{self.user} for {self.service}@{self.host}".encode()
            case b"who?":
                return b"me"
            case b"welcome":
                self.complete = True
                return b""
            case _:
                raise GssError("this is no token")


@dataclass
class FakeAcceptor(FakeContext):
    legs: int = 0
    """Questions to ask before the client is known."""
    principal: str = ""
    service: str = ""

    def answer(self, token: bytes) -> bytes:
        if self.steps == 1:
            name, ours, target = token.partition(b" for ")
            if not ours:
                raise GssError("this is no ticket")
            self.principal, self.service = name.decode(), target.partition(b"@")[0].decode()
        elif token != b"me":
            raise GssError("this is no token")
        if self.steps <= self.legs:
            return b"who?"
        self.complete = True
        return b"welcome"


@dataclass
class FakeMechanism:
    """Makes contexts, all alike, and remembers them."""

    user: str = "carol@TEST"
    delay: float = 0
    error: str = ""
    legs: int = 0
    contexts: list[FakeContext] = field(default_factory=list)
    keytabs: list[str | None] = field(default_factory=list)

    def initiate(self, login: Gssapi, host: str) -> FakeInitiator:
        made = FakeInitiator(self.delay, self.error, user=self.user, service=login.service, host=login.host or host)
        self.contexts.append(made)
        return made

    def accept(self, keytab: str | None) -> FakeAcceptor:
        made = FakeAcceptor(self.delay, self.error, legs=self.legs)
        self.contexts.append(made)
        self.keytabs.append(keytab)
        return made

    def install(self, patch: pytest.MonkeyPatch) -> FakeMechanism:
        """Let dials and sessions use this one."""
        for module in MODULES:
            patch.setattr(f"{module}.mechanism", lambda: self)
        return self


def agreed() -> tuple[FakeInitiator, FakeAcceptor]:
    """Two sides that know each other, at once."""
    return FakeInitiator(complete=True), FakeAcceptor(complete=True)


async def established(legs: int = 0) -> tuple[FakeInitiator, FakeAcceptor]:
    """Two sides that know each other."""
    initiator, acceptor = FakeInitiator(), FakeAcceptor(legs=legs)
    token = await initiator.step(b"")
    while not initiator.complete:
        token = await initiator.step(await acceptor.step(token))
    return initiator, acceptor
