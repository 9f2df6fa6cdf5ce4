"""Kerberos contexts (RFC 4121), by the package ``gssapi``: a `chainsocks.gss.contexts.Mechanism`.

The credentials are those of the environment: of a client, the tickets that ``kinit`` got (``KRB5CCNAME``), or a keytab
to get some with (``KRB5_CLIENT_KTNAME``); of a server, its keytab (``KRB5_KTNAME``).

1. A step runs in a thread: it may ask a KDC, which may be mute. Who waits no longer leaves it alone there.
2. Capsules are made and opened in place, which takes microseconds.
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
"""RFC 1961 section 3.2, without delegation: a proxy has no business with our tickets. dante leaves it out as well."""

THREADS = 32
"""Steps at once, of each side: a KDC that is mute takes up as many, and none that others need."""

_NEEDS = {
    Protection.NONE: RequirementFlag.integrity,  # the level itself is encapsulated
    Protection.INTEGRITY: RequirementFlag.integrity,
    Protection.CONFIDENTIALITY: RequirementFlag.confidentiality,
}


class _SecurityContext(gssapi.SecurityContext):
    """The package's own, that tells of an error at once, and not at the next call."""

    __DEFER_STEP_ERRORS__ = False


class _Context:
    """What both sides share."""

    without_credentials = ""
    """What to do when there are none."""
    limiter: RunVar[CapacityLimiter]

    def __init__(self) -> None:
        self._context: _SecurityContext | None = None
        self._offers: frozenset[RequirementFlag] = frozenset()

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
        context = self._offering(protection)
        confidential = protection is Protection.CONFIDENTIALITY
        try:
            wrapped = context.wrap(data, confidential)
        except GSSError as error:
            raise _explain(error) from None
        if confidential and not wrapped.encrypted:
            raise GssError("the mechanism did not encrypt a message")
        return wrapped.message

    def unwrap(self, token: bytes, protection: Protection) -> bytes:
        context = self._offering(protection)
        try:
            unwrapped = context.unwrap(token)
        except GSSError as error:
            raise _explain(error) from None
        if protection is Protection.CONFIDENTIALITY and not unwrapped.encrypted:
            raise GssError("a message is not encrypted, as was agreed")
        return unwrapped.message

    def _open(self) -> _SecurityContext:
        """Acquire what the context is made of; in a thread."""
        raise NotImplementedError

    def _step(self, token: bytes) -> bytes:
        try:
            if self._context is None:
                self._context = self._open()
            answer = self._context.step(token or None) or b""
            if self._context.complete:
                self._offers = frozenset(self._context.actual_flags)
            return answer
        except MissingCredentialsError as error:
            raise GssError(f"{_explain(error)}; {self.without_credentials}") from None
        except GSSError as error:
            raise _explain(error) from None

    @property
    def _known(self) -> _SecurityContext:
        """The context, once it is complete."""
        if self._context is None or not self._context.complete:
            raise RuntimeError("the context is not complete")
        return self._context

    def _offering(self, protection: Protection) -> _SecurityContext:
        """Return the context, if it can do this."""
        context, needed = self._known, _NEEDS[protection]
        if needed not in self._offers:
            raise GssError(f"this context offers no {needed.name}")
        return context


class _Initiator(_Context):
    limiter = RunVar("limiter of initiators")
    without_credentials = "run kinit, or let KRB5_CLIENT_KTNAME name a keytab to do that with"

    def __init__(self, service: str, host: str) -> None:
        super().__init__()
        self._target = f"{service}@{host}"

    def _open(self) -> _SecurityContext:
        name = gssapi.Name(self._target, NameType.hostbased_service)
        return _SecurityContext(name=name, flags=FLAGS, mech=gssapi.MechType.kerberos, usage="initiate")


class _Acceptor(_Context):
    limiter = RunVar("limiter of acceptors")
    without_credentials = "let gssapi_keytab in [server], or KRB5_KTNAME, name a file with the keys of a service"

    def __init__(self, keytab: str | None) -> None:
        super().__init__()
        self._keytab = keytab

    @property
    def principal(self) -> str:
        """Who the peer is."""
        return _text(self._known.initiator_name)

    @property
    def service(self) -> str:
        """What it wanted to reach."""
        return _text(self._known.target_name).partition("/")[0]

    def _open(self) -> _SecurityContext:
        store: dict[bytes | str, bytes | str] | None = {"keytab": self._keytab} if self._keytab else None
        credentials = gssapi.Credentials(usage="accept", mechs=[gssapi.MechType.kerberos], store=store)
        return _SecurityContext(creds=credentials, usage="accept")


def initiate(login: Gssapi, host: str) -> _Initiator:
    """Begin a context with a service at `host`."""
    return _Initiator(login.service, login.host or host)


def accept(keytab: str | None) -> _Acceptor:
    """Wait for a context, with the keys of a keytab."""
    return _Acceptor(keytab)


def _text(name: gssapi.Name) -> str:
    """Write a name down, whatever its bytes."""
    return bytes(name).decode("utf-8", "surrogateescape")


def _explain(error: GSSError) -> GssError:
    """Put an error in the mechanism's own words, if it has some, and say what to do."""
    words = _words(error, error.min_code, is_maj=False) or _words(error, error.maj_code, is_maj=True)
    return GssError(printable(", ".join(words)))


def _words(error: GSSError, code: int, *, is_maj: bool) -> list[str]:
    """Return what there is to say of a code; nothing of one that knows of no error."""
    found = error.get_all_statuses(code, is_maj=is_maj) if code else []
    return [words.strip().rstrip(".") for words in found if words not in ("", "Success")]
