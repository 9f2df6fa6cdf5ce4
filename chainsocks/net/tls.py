"""TLS over any byte stream, with a half-close, by the standard library's `ssl.MemoryBIO`.

anyio's and trio's TLS streams can end both directions only. Here `send_eof` sends a close_notify, and reading goes on
until the peer's (RFC 8446 section 6.1).

1. An end without a close_notify breaks the stream: the reader must not take a part for the whole.
2. Reading may have to send something, such as the answer to a key update. It leaves that to a task that is sending
   anyway: waiting for it, two peers that both send a lot would stop reading.
3. A close sends no close_notify. But when this stream has ended both ways, the layers of TLS around it are ended by it,
   as far as that needs no wait: the hops that they lead to have done nothing but forward. `end_layers` does so for a
   stream that has carried all it was opened for, although its peer could send more.
4. Before its close_notify is sent, what has arrived is decrypted: OpenSSL would drop it.
"""

from __future__ import annotations

import importlib
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

from chainsocks.config.tls import show_pin
from chainsocks.protocol.address import printable
from chainsocks.protocol.errors import Cause, describe_opening

__all__ = ["TlsError", "TlsStream", "end_and_close", "end_layers"]

CHUNK = 64 * 1024
"""Bytes that are encrypted before they are sent."""

_OPENING = 24
_NOT_TLS = {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE"}
_RECORDS = (b"", b"\x15", b"\x16")
"""How an answer of TLS begins: with an alert, or a handshake."""
_NAMES, _EXPIRED, _NOT_YET = {62, 63, 64}, 10, 9  # X509_V_ERR_*


class TlsError(BrokenResourceError):
    """TLS broke the stream; the message says why."""

    def __init__(self, message: str, cause: Cause) -> None:
        super().__init__(message)
        self.cause = cause


class _Certificate(Protocol):
    def get_info(self) -> dict[str, Any]: ...


@runtime_checkable
class _SendsNow(Protocol):
    def send_nowait(self, item: bytes) -> int: ...


class _Pins(Protocol):
    def pin_of(self, certificate: bytes) -> bytes: ...


class TlsStream(ByteStream):
    """TLS over `stream`; call `handshake` first. A client verifies `name`, and sends it as SNI.

    `remedy` is what an error advises where the peer requires a client certificate.

    *Closing*: it owns `stream`, and closes it without a close_notify.

    *Raises*: as ``anyio.abc.ByteStream`` says; `TlsError` where TLS broke the stream.
    """

    def __init__(
        self,
        stream: ByteStream,
        context: ssl.SSLContext,
        name: str | None = None,
        pins: Sequence[bytes] = (),
        *,
        is_server: bool = False,
        session: ssl.SSLSession | None = None,
        remedy: str = "give this hop client_cert",
    ) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, is_server, name, session)
        self._is_server = is_server
        self._name = name
        self._pins = pins
        self._remedy = remedy
        self._opening = b""
        """The first bytes from the peer."""
        self._early = bytearray()
        """What was decrypted before our close_notify."""
        self.is_open = False
        """Whether the handshake is done."""
        self._has_ended = self._peer_has_ended = False
        self._sending = anyio.Lock()
        self._senders = 0
        self._failure: TlsError | None = None
        """What broke the stream behind bytes that were still good."""
        self.problem: str | None = None
        """Why nothing more can be received, if TLS broke the stream."""

    async def handshake(self) -> None:
        """Agree on keys, and verify the peer's certificate.

        Raises:
            TlsError: it failed, and `Cause` says why.
            BrokenResourceError: the connection broke.
        """
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fetch()
                self._check_opening()
            except (ssl.SSLError, ssl.CertificateError) as error:
                failure = self._explain(error)
                try:
                    await self._flush()  # the alert
                except BrokenResourceError:
                    pass  # the peer has no interest in it
                raise failure from None
            else:
                break
        self.is_open = True
        await self._flush()
        self._check_pins()

    def _check_opening(self) -> None:
        """Check that the peer speaks TLS: OpenSSL waits for five bytes, and the answer of a SOCKS hop may have two."""
        if self._opening[:1] not in _RECORDS:
            cause, looks = describe_opening(self._opening)
            raise TlsError(f"it does not speak TLS; it {looks}", cause)

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """The state of TLS, to ask and not to use: what it encrypts would be lost."""
        return self._object

    @property
    def version(self) -> str:
        """The version of TLS, as in ``TLSv1.3``."""
        return self._object.version() or "no TLS"

    @property
    def session(self) -> ssl.SSLSession | None:
        """What the next handshake with the peer can resume; in TLS 1.3 it comes behind the handshake."""
        return self._object.session

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake has resumed a session."""
        return bool(self._object.session_reused)

    @property
    def certificate(self) -> bytes:
        """The peer's certificate (DER)."""
        return self._object.getpeercert(binary_form=True) or b""

    @property
    def verified(self) -> Mapping[str, Any]:
        """The fields of the peer's certificate, as `ssl.SSLSocket.getpeercert` has them; none if it is not verified."""
        return self._object.getpeercert() or {}

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return decrypted bytes, up to `max_bytes`; wait until there are some."""
        if self._early:
            await checkpoint()
            data = bytes(self._early[:max_bytes])
            del self._early[:max_bytes]
            return data
        waited = False
        while True:
            decrypted = self._read(max_bytes)
            if decrypted:
                decrypted = self._read_on(decrypted, max_bytes)
                if not waited:
                    await checkpoint()
                return decrypted
            if decrypted is not None:
                raise EndOfStream
            if not self._senders:
                await self._flush()
            await self._fetch()
            waited = True

    async def send(self, item: bytes) -> None:
        """Encrypt and send `item`."""
        with memoryview(item) as view:
            for start in range(0, len(item), CHUNK):
                try:
                    self._object.write(view[start : start + CHUNK])
                except ssl.SSLError as error:
                    raise self._broken(error) from None
                await self._flush()

    async def send_eof(self) -> None:
        """Send a close_notify; the other direction stays open."""
        if self._has_ended:
            return
        self._has_ended = True
        while data := self._read(CHUNK):
            self._early += data
        try:
            self._object.unwrap()
        except ssl.SSLWantReadError:
            pass  # it is queued, and the peer's is not there
        except ssl.SSLError as error:
            raise self._broken(error) from None
        await self._flush()

    async def aclose(self) -> None:
        """Close the inner stream."""
        if self._has_ended and self._peer_has_ended and isinstance(self._stream, TlsStream):
            self._stream.finish()
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Those of the inner stream."""
        return self._stream.extra_attributes

    def finish(self) -> None:
        """End this layer, and those around it, as far as that needs no wait. A close has to follow."""
        try:
            if not self._has_ended:
                self._has_ended = True
                self._object.unwrap()
        except ssl.SSLError:
            pass  # it is queued, or this layer is broken
        try:
            self._push()
        except (ssl.SSLError, BrokenResourceError, ClosedResourceError):
            return
        if isinstance(self._stream, TlsStream):
            self._stream.finish()

    def _push(self) -> None:
        """Send what is encrypted, as far as the kernel takes it."""
        data, stream = self._outgoing.read(), self._stream
        if data and isinstance(stream, TlsStream):
            stream._object.write(data)  # noqa: SLF001
            stream._push()  # noqa: SLF001
        elif data and isinstance(stream, _SendsNow):
            stream.send_nowait(data)

    def _read_on(self, first: bytes, max_bytes: int) -> bytes:
        """Return what has arrived behind `first` along with it: OpenSSL returns one record of up to 16 KiB at a time.

        An end behind it comes with the next call.
        """
        parts, left = [first], max_bytes - len(first)
        try:
            while left > 0 and self._incoming.pending and (data := self._read(left)):
                parts.append(data)
                left -= len(data)
        except TlsError as error:
            self._failure = error
        return b"".join(parts) if len(parts) > 1 else first

    def _read(self, max_bytes: int) -> bytes | None:
        """Return decrypted bytes, none at the peer's close_notify; None while more has to arrive."""
        if self._failure:
            raise self._failure
        try:
            data = self._object.read(max_bytes)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            data = b""  # as Python has it where our side has ended, too
        except ssl.SSLError as error:
            raise self._broken(error) from None
        if not data:
            self._peer_has_ended = True
        return data

    async def _fetch(self) -> None:
        try:
            data = await self._stream.receive()
        except EndOfStream:
            self._incoming.write_eof()
            return
        if len(self._opening) < _OPENING:
            self._opening += data[:_OPENING]
        self._incoming.write(data)

    async def _flush(self) -> None:
        """Send what is encrypted, in order, whatever task has written it."""
        if self._outgoing.pending:
            self._senders += 1
            try:
                async with self._sending:
                    while data := self._outgoing.read():
                        await self._stream.send(data)
            finally:
                self._senders -= 1

    def _broken(self, error: ssl.SSLError) -> TlsError:
        failure = self._explain(error)
        self.problem = str(failure)
        return failure

    def _explain(self, error: ssl.SSLError | ssl.CertificateError) -> TlsError:
        """Return the error for people and programs."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._explain_certificate(error)
        reason = getattr(error, "reason", None) or ""
        words = reason.lower().replace("_", " ")
        if not self.is_open and reason in _NOT_TLS:
            cause, looks = describe_opening(self._opening)
            return TlsError(f"it does not speak TLS; it {looks}", cause)
        if isinstance(error, ssl.SSLEOFError) or "UNEXPECTED_EOF" in reason:
            if self._is_server and not self._opening:
                return TlsError("it left without a word", Cause.CLOSED)
            return TlsError("the connection ended without TLS's own end (close_notify)", Cause.CLOSED)
        if "DID_NOT_RETURN_A_CERTIFICATE" in reason:
            return TlsError("it showed no certificate, and one is required", Cause.LOGIN_REQUIRED)
        if "CERTIFICATE_REQUIRED" in reason:
            return TlsError(f"it requires a client certificate; {self._remedy}", Cause.LOGIN_REQUIRED)
        if "ALERT" in reason:
            said = words.rpartition("alert ")[2]
            return TlsError(f"it ended TLS with the alert: {said}", Cause.TLS_ALERT)
        return TlsError(f"TLS failed: {words or printable(str(error))}", Cause.TLS_FAILED)

    def _explain_certificate(self, error: ssl.SSLCertVerificationError) -> TlsError:
        info, code = self._unverified(), error.verify_code
        if code in _NAMES:
            names = ", ".join(printable(str(value)) for _, value in info.get("subjectAltName", ())[:4])
            own = f"is for {names}" if names else "has no name"
            return TlsError(f"its certificate {own}, and not for {self._name}", Cause.CERTIFICATE_NAME)
        if code == _EXPIRED:
            return TlsError(f"its certificate expired{_since(info.get('notAfter'))}", Cause.CERTIFICATE_EXPIRED)
        if code == _NOT_YET:
            return TlsError(
                f"its certificate is not valid yet{_until(info.get('notBefore'))}", Cause.CERTIFICATE_EXPIRED
            )
        why = error.verify_message
        return TlsError(f"its certificate is not trusted: {why}", Cause.CERTIFICATE_UNTRUSTED)

    def _unverified(self) -> dict[str, Any]:
        """Return the fields of a certificate that was not accepted, for the message; none where Python hides them."""
        try:
            chain: list[_Certificate] = self._object._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # noqa: SLF001
            return chain[0].get_info()
        except (AttributeError, IndexError, TypeError, ValueError):
            return {}

    def _check_pins(self) -> None:
        if self._pins:
            pins = cast(_Pins, importlib.import_module("chainsocks.net.pins"))
            pin = pins.pin_of(self.certificate)
            if pin not in self._pins:
                self.problem = f"its pin does not match: got {show_pin(pin)}"
                raise TlsError(self.problem, Cause.PIN_MISMATCH)


def end_layers(stream: ByteStream) -> None:
    """End all layers of TLS that a stream has, if any, before it is closed; as far as that needs no wait."""
    if isinstance(stream, TlsStream):
        stream.finish()


async def end_and_close(stream: ByteStream) -> None:
    """Close a stream at once that has served its purpose, so that no hop takes its end for a cut."""
    end_layers(stream)
    await anyio.aclose_forcefully(stream)


def _since(date: str | None) -> str:
    return f" {_span(time.time() - ssl.cert_time_to_seconds(date))} ago" if date else ""


def _until(date: str | None) -> str:
    return f", for another {_span(ssl.cert_time_to_seconds(date) - time.time())}" if date else ""


def _span(seconds: float) -> str:
    for length, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if (count := int(seconds // length)) > 0:
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "moments"
