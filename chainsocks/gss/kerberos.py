"""Kerberos contexts (RFC 4121), by the package ``gssapi``: a `chainsocks.gss.contexts.Mechanism`.

Credentials come from the environment. A client uses the tickets of ``kinit`` (``KRB5CCNAME``), or a keytab to get some
with (``KRB5_CLIENT_KTNAME``); a server uses its keytab (``KRB5_KTNAME``).

1. A step of a context runs in a thread, because it may wait for a KDC. If it is cancelled, the thread is abandoned.
2. Messages are wrapped and unwrapped in place, which takes microseconds.
"""

from __future__ import annotations

import anyio.to_thread
import gssapi
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from gssapi.exceptions import MissingCredentialsError
from gssapi.raw.misc import GSSError
from gssapi.raw.types import NameType, RequirementFlag

from chainsocks.errors import GssError
from chainsocks.protocol.address import printable
from chainsocks.protocol.gssapi import Gssapi, Protection

__all__ = ["accept", "initiate"]

FLAGS = (
    RequirementFlag.mutual_authentication
    | RequirementFlag.replay_detection
    | RequirementFlag.out_of_sequence_detection
    | RequirementFlag.integrity
    | RequirementFlag.confidentiality
)
"""RFC 1961 section 3.2, without delegation: a proxy does not need our tickets. dante omits it as well."""

THREADS = 32
"""Concurrent steps of each side, in threads of their own: a KDC that does not answer can block no other threads."""

_NEEDS = {
    Protection.NONE: RequirementFlag.integrity,  # without protection, the negotiation of the level is still wrapped
    Protection.INTEGRITY: RequirementFlag.integrity,
    Protection.CONFIDENTIALITY: RequirementFlag.confidentiality,
}


class _SecurityContext(gssapi.SecurityContext):
    """The package's context, but errors are raised at once and not by the next call."""

    __DEFER_STEP_ERRORS__ = False


class _Context:
    """The common part of both sides."""

    without_credentials = ""
    """How to provide credentials, for the error message."""
    limiter: RunVar[CapacityLimiter]

    def __init__(self) -> None:
        self._context: _SecurityContext | None = None
        self._supported: frozenset[RequirementFlag] = frozenset()

    @property
    def complete(self) -> bool:
        return self._context is not None and self._context.complete

    async def step(self, token: bytes) -> bytes:
        limiter = self.limiter.get(None)
        if limiter is None:
            limiter = CapacityLimiter(THREADS)
            self.limiter.set(limiter)
        return await anyio.to_thread.run_sync(self._step, token, abandon_on_cancel=True, limiter=limiter)

    def wrap(self, data: bytes, protection: Protection) -> bytes:
        context = self._supporting(protection)
        confidential = protection is Protection.CONFIDENTIALITY
        try:
            wrapped = context.wrap(data, confidential)
        except GSSError as error:
            raise _explain(error) from None
        if confidential and not wrapped.encrypted:
            raise GssError("the mechanism did not encrypt a message")
        return wrapped.message

    def unwrap(self, token: bytes, protection: Protection) -> bytes:
        context = self._supporting(protection)
        try:
            unwrapped = context.unwrap(token)
        except GSSError as error:
            raise _explain(error) from None
        if protection is Protection.CONFIDENTIALITY and not unwrapped.encrypted:
            raise GssError("a message is not encrypted, although encryption was negotiated")
        return unwrapped.message

    def _open(self) -> _SecurityContext:
        """Acquire the credentials, and make the context. Runs in a thread."""
        raise NotImplementedError

    def _step(self, token: bytes) -> bytes:
        try:
            if self._context is None:
                self._context = self._open()
            answer = self._context.step(token or None) or b""
            if self._context.complete:
                self._supported = frozenset(self._context.actual_flags)
            return answer
        except MissingCredentialsError as error:
            raise GssError(f"{_explain(error)}; {self.without_credentials}") from None
        except GSSError as error:
            raise _explain(error) from None

    @property
    def _completed(self) -> _SecurityContext:
        """The context, which must be complete."""
        if self._context is None or not self._context.complete:
            raise RuntimeError("the context is not complete")
        return self._context

    def _supporting(self, protection: Protection) -> _SecurityContext:
        """Return the context, if it supports this protection."""
        context, needed = self._completed, _NEEDS[protection]
        if needed not in self._supported:
            raise GssError(f"this context does not support {needed.name}")
        return context


class _Initiator(_Context):
    limiter = RunVar("limiter of initiators")
    without_credentials = "run kinit, or set KRB5_CLIENT_KTNAME to a keytab of the user"

    def __init__(self, service: str, host: str) -> None:
        super().__init__()
        self._target = f"{service}@{host}"

    def _open(self) -> _SecurityContext:
        name = gssapi.Name(self._target, NameType.hostbased_service)
        return _SecurityContext(name=name, flags=FLAGS, mech=gssapi.MechType.kerberos, usage="initiate")


class _Acceptor(_Context):
    limiter = RunVar("limiter of acceptors")
    without_credentials = "set gssapi_keytab in [server], or KRB5_KTNAME, to a keytab of the service"

    def __init__(self, keytab: str | None) -> None:
        super().__init__()
        self._keytab = keytab

    @property
    def principal(self) -> str:
        """The name of the peer."""
        return _text(self._completed.initiator_name)

    @property
    def service(self) -> str:
        """The service that the peer asked for, without the host."""
        return _text(self._completed.target_name).partition("/")[0]

    def _open(self) -> _SecurityContext:
        store: dict[bytes | str, bytes | str] | None = {"keytab": self._keytab} if self._keytab else None
        credentials = gssapi.Credentials(usage="accept", mechs=[gssapi.MechType.kerberos], store=store)
        return _SecurityContext(creds=credentials, usage="accept")


def initiate(login: Gssapi, host: str) -> _Initiator:
    """Start a context with the service at `host`."""
    return _Initiator(login.service, login.host or host)


def accept(keytab: str | None) -> _Acceptor:
    """Make the accepting side of a context, with the keys of `keytab` (the system's for None)."""
    return _Acceptor(keytab)


def _text(name: gssapi.Name) -> str:
    """Return a name as text, whatever its bytes."""
    return bytes(name).decode("utf-8", "surrogateescape")


def _explain(error: GSSError) -> GssError:
    """Return an error with the mechanism's message, or else that of GSS-API."""
    words = _words(error, error.min_code, is_maj=False) or _words(error, error.maj_code, is_maj=True)
    return GssError(printable(", ".join(words)))


def _words(error: GSSError, code: int, *, is_maj: bool) -> list[str]:
    """Return the messages of a code; none for one that means success."""
    found = error.get_all_statuses(code, is_maj=is_maj) if code else []
    return [words.strip().rstrip(".") for words in found if words not in ("", "Success")]
