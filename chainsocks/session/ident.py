"""Ask the identd of a SOCKS4 client whether its user is who it says (RFC 1413, and the SOCKS4 memo's 92 and 93)."""

from __future__ import annotations

import logging

from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream

from chainsocks.chain.connect_errors import explain_connect_error
from chainsocks.config.models import Ident
from chainsocks.egress import Egress
from chainsocks.errors import Cause, ProtocolError, RequestRefused
from chainsocks.network import Network
from chainsocks.observe.privacy import private
from chainsocks.protocol.address import Address
from chainsocks.protocol.ident import decode_answer, encode_query
from chainsocks.protocol.messages import Credentials, IdentCode, UserId
from chainsocks.protocol.proxy_protocol import Ends
from chainsocks.session.connection import connects_here, ends_of

__all__ = ["IDENT_PORT", "check_ident"]

IDENT_PORT = 113
"""RFC 1413 section 2."""

log = logging.getLogger("chainsocks.session")


_NO_ANSWER = "no identd answers"
"""What a log without clients says of all reasons."""


class _NoAnswerError(Exception):
    """There is no identd, or none that names a user."""


async def check_ident(
    client: ByteStream,
    credentials: Credentials | None,
    policy: Ident,
    seconds: float,
    network: Network,
    told: Ends | None = None,
) -> bytes | None:
    """Compare the user id of a request with the answer of the identd on the client's machine, within `seconds`.

    `told` are the ends of the client's connection where a load balancer has told of them.

    Return the user that both name; None where no identd answers.

    Raises:
        RequestRefused: they differ; or no identd answers, and `policy` is `Ident.REQUIRE`.
    """
    claimed = credentials.user_id if isinstance(credentials, UserId) else b""
    try:
        user = await _ask(client, seconds, network, told)
    except _NoAnswerError as error:
        if policy is Ident.REQUIRE:
            raise RequestRefused(f"ident: {error}", IdentCode.IDENTD_MISSING, discreet=f"ident: {_NO_ANSWER}") from None
        log.debug("= ident: %s", private(str(error), _NO_ANSWER))
        return None
    if user != claimed:
        raise RequestRefused(
            "ident: the client's machine names another user than its request", IdentCode.IDENTD_DIFFERS
        )
    return user


async def _ask(client: ByteStream, seconds: float, network: Network, told: Ends | None) -> bytes:
    """Return the user that the identd names."""
    try:
        real = ends_of(client)
    except OSError:
        raise _NoAnswerError("the client is gone") from None
    ends = told or real
    if ends is None:
        raise _NoAnswerError("the client came by a unix socket, which no identd knows")
    asked, own = ends.source, ends.destination
    identd = Address(asked.host, IDENT_PORT, scope=asked.scope)
    # An identd knows a connection by both ends, and takes ours from the query's source address (RFC 1413 section 3).
    if told and not connects_here(told, real):
        raise _NoAnswerError(f"an identd would know the client's connection to {own.host}, from where none is asked")
    source = Address(own.host, 0, scope=own.scope)
    with network.open_scope(network.now() + seconds):
        try:
            stream = await network.open_tcp(identd, Egress((source,)))
        except OSError as error:
            raise _NoAnswerError(f"no identd at {identd}: {explain_connect_error(error)[0]}") from None
        try:
            return await _converse(stream, asked.port, own.port)
        except (ProtocolError, BrokenResourceError, EndOfStream) as error:
            problem = str(error) if isinstance(error, ProtocolError) else "it closed the connection"
            raise _NoAnswerError(f"no answer of the identd at {identd}: {problem}") from None
        finally:
            await stream.aclose()
    raise _NoAnswerError(f"no answer of an identd at {identd} (within {seconds:g} s)")


async def _converse(stream: ByteStream, theirs: int, ours: int) -> bytes:
    await stream.send(encode_query(theirs, ours))
    data = b""
    while (answer := decode_answer(data, theirs, ours)) is None:
        data += await stream.receive()
    if answer.user is None:
        raise ProtocolError(f"it names no user: {answer.error}", Cause.NO_USER)
    return answer.user
