"""Advice on a dial that failed, by the hop, the step and the cause. It repeats no secret."""

from __future__ import annotations

from collections.abc import Iterator

from chainsocks.config.kinds import HopProtocol
from chainsocks.errors import (
    Cause,
    ConnectError,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    HopTlsError,
    Step,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address, AddressType, UnixAddress, printable
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import ReplyCode
from chainsocks.tools.probe.walk import Walk

__all__ = ["advise"]


def advise(walk: Walk) -> tuple[str, ...]:
    """Return what to try, the likeliest first; nothing for a walk that succeeded."""
    return tuple(_Adviser(walk, walk.error).advise()) if walk.error else ()


class _Adviser:
    """A failure with its surroundings: the hop, the hops before and after it, and the destination."""

    def __init__(self, walk: Walk, error: DialError) -> None:
        leg = walk.leg
        self._error = error
        self._walk = walk
        self._chain = walk.route.chain
        self._hop = leg.hop if leg else None
        self._before = leg.previous if leg else None
        self._next = leg.next if leg else None

    def advise(self) -> Iterator[str]:
        error = self._error
        if self._chain.send_proxy and self._hop and not self._before and self._may_be_the_header(error):
            yield "the chain has send_proxy: does this hop expect a PROXY protocol header, and from this machine?"
        match error:
            case DialTimeout():
                yield from self._too_late(error)
            case ConnectError():
                yield from self._no_connection(error)
            case HopAuthenticationError():
                yield from self._login(error)
            case HopTlsError():
                yield from self._tls(error)
            case HopProtocolError():
                yield from self._protocol(error)
            case HopRefused():
                yield from self._refused()
            case UnsupportedAddress():
                yield "change the configuration as it says: nothing was sent to this hop"

    @staticmethod
    def _may_be_the_header(error: DialError) -> bool:
        """Whether a hop that takes no header, or none from here, fails so: with its first answer, or without any."""
        step = error.place.step
        is_answer = isinstance(error, HopProtocolError | DialTimeout) and step not in (Step.CONNECT, Step.RESOLVE)
        return is_answer or (isinstance(error, ConnectError) and error.cause is Cause.RESET)

    def _no_connection(self, error: DialError) -> Iterator[str]:
        address = error.place.address
        if error.cause is Cause.NAME_NOT_FOUND:
            yield f"is the name right? `getent hosts {printable(address.host)}` shows what this machine finds"
            yield "an IP address instead of the name needs no lookup"
            return
        if isinstance(address, UnixAddress):
            yield f"does a program listen at {address}, and may this user write to it? `ss -lx` lists unix sockets"
            return
        match error.cause:
            case Cause.NO_LOCAL_PORT if self._leaves_by_itself:
                yield "its source, interface or mark cannot be had on this machine: see `chainsocks manual source`"
            case Cause.CONNECTION_REFUSED:
                yield f"the machine answers, but nothing listens on port {address.port}: is the program running?"
                yield f"is {address.port} the right port? `ss -ltn` on that machine shows its listening ports"
            case Cause.NETWORK_UNREACHABLE | Cause.HOST_UNREACHABLE | Cause.NO_ADDRESS_FAMILY:
                if address.type is AddressType.IPV6:
                    yield "this machine may have no IPv6: is there an IPv4 address to use?"
                yield f"no route to {printable(address.host)}: is the network up, is the address right?"
            case Cause.TOO_MANY_FILES:
                yield "this process may not open more files: try again after `ulimit -n 4096`"
            case Cause.NO_LOCAL_PORT:
                yield f"has this machine an address that reaches {printable(address.host)}? `ip address` lists them"
                yield "if it has, all its local ports are in use: `ss -s` counts the connections"
            case Cause.NOT_ALLOWED:
                yield "a firewall on this machine forbids the connection"
            case Cause.RESET:
                yield f"the connection was accepted and then reset: is {address.port} the right port?"
                yield "a firewall or an access list may refuse this machine"
            case Cause.NO_ANSWER:
                yield from self._no_answer(address)
            case _:
                yield "is the address right?"

    @property
    def _leaves_by_itself(self) -> bool:
        """Whether the configuration says where the connection leaves from."""
        return (self._hop.egress if self._hop else self._chain.egress) is not None

    def _too_late(self, error: DialError) -> Iterator[str]:
        step, address = error.place.step, error.place.address
        match step:
            case Step.RESOLVE:
                yield "this machine's name server does not answer: an IP address instead of the name needs no lookup"
            case Step.CONNECT:
                yield from self._no_answer(address)
            case Step.TLS:
                yield f"the connection was accepted, but no TLS came: is {address.port} a port with TLS?"
                yield from self._may_be_before()
            case State.METHOD_NEGOTIATION:
                yield f"the connection was accepted, but no answer came: is {address.port} the port of a SOCKS5 proxy?"
                yield "web servers, TLS servers and proxies that speak only SOCKS4 may be silent like this"
                yield from self._may_be_before()
            case State.REQUEST:
                yield from self._may_be_no_socks4()
                if self._next:
                    yield from self._suspects("be switched off, or behind a firewall that drops packets")
                elif self._walk.destination:
                    yield f"{self._walk.destination} may not answer: try a destination that is known to answer"
            case _:
                yield "it did not answer the login: the service that it checks logins with may hang"
        yield self._longer(step)

    def _longer(self, step: State | Step) -> str:
        """Say which limit ended the step, and where to raise it."""
        if self._walk.chain_is_over:
            name = printable(self._chain.name)
            own = self._chain.dial is not None
            return _SLOW + (f"raise `dial` of chain {name}" if own else "raise `dial` in [timeouts]")
        if step is Step.RESOLVE:
            return _SLOW + "raise `resolve` in [timeouts]"
        if step is Step.CONNECT or self._hop is None:
            return _SLOW + "raise `connect` in [timeouts]"
        name = printable(self._hop.name)
        own = self._hop.timeout is not None
        return _SLOW + (f"raise `timeout` of hop {name}" if own else f"give hop {name} a `timeout` in [hops]")

    def _login(self, error: DialError) -> Iterator[str]:
        if error.cause is Cause.LOGIN_REFUSED:
            yield "the username or the password is wrong; the hop does not say which"
            yield "in a URL, write @ : and % in them as %40 %3A and %25"
        elif self._hop and error.cause in (Cause.GSSAPI_FAILED, Cause.GSSAPI_ABORTED, Cause.GSSAPI_PROTECTION):
            yield "`klist` shows the tickets of this user on this machine; `kinit` gets one"
            yield f"the hop's keytab may be for another name than {printable(self._hop.address.host)}"
        elif self._hop and error.cause is Cause.NO_ACCEPTABLE_METHOD:
            offered = "GSSAPI" if isinstance(self._hop.credentials, Gssapi) else "a username and password"
            yield f"it requires another kind of login than {offered}: ask its operator"
        elif self._hop:
            address = self._hop.address
            scheme = self._hop.scheme
            yield f"give it a login: {scheme}://USER:PASSWORD@{address}, or `username` and `password_env` in [hops]"

    def _tls(self, error: DialError) -> Iterator[str]:
        """Say what to do about a TLS handshake, or a certificate."""
        address = error.place.address
        match error.cause:
            case Cause.PIN_MISMATCH:
                yield "compare the pin with `chainsocks cert --show FILE` at the hop itself, before you use it"
                if (leg := self._walk.leg) and (seen := self._walk.secured.get(leg.position)) and seen.pin:
                    yield f'if equal: pin = "{seen.pin}"'
                yield "if not, another server is in between, or the address is wrong"
            case Cause.CERTIFICATE_NAME:
                yield "if it is the right server, set `name` in its `tls` to a name of its certificate"
                yield from self._may_be_before()
            case Cause.CERTIFICATE_EXPIRED:
                yield "is the clock of this machine right? If so, the hop's owner has to renew the certificate"
                yield "a `pin` in its `tls` does not look at dates"
            case Cause.CERTIFICATE_UNTRUSTED:
                yield "name the file with its authority's certificate: `ca` in its `tls`"
                yield f"or pin its key: `chainsocks cert --show {address}` prints the pin; compare it at the hop itself"
            case Cause.LOGIN_REQUIRED:
                yield "give its `tls` a certificate that it accepts: client_cert and client_key"
            case Cause.TLS_ALERT:
                yield "its log may say more: it may want a certificate (client_cert), or another name (name)"
            case Cause.RESET | Cause.CLOSED:
                yield f"it ended the connection in the handshake: is {address.port} a port with TLS?"
                yield "an access list may refuse this machine"
                yield from self._may_be_before()
            case Cause.TLS_FAILED:
                yield "its log may say more: the two sides may have no version of TLS in common"
            case _:
                yield f"is {address.port} the right port? If it has no TLS, take `tls` out, or the TLS of the scheme"
                yield from self._may_be_before()

    def _protocol(self, error: DialError) -> Iterator[str]:
        cause, hop = error.cause, self._hop
        if hop is None:
            return
        if cause in _LOOKS_LIKE:
            yield _LOOKS_LIKE[cause].format(
                port=hop.address.port, name="HTTP" if hop.protocol is HopProtocol.HTTP else "SOCKS"
            )
            yield from self._may_be_before()
        elif cause is Cause.NO_CONNECT:
            yield f"is {hop.address.port} the port of a web server? Which port is that of the proxy?"
            yield "if it is a proxy, its configuration has to allow CONNECT"
            yield from self._may_be_before()
        elif cause is Cause.UNSOLICITED:
            who = printable(self._next.name) if self._next else "the peer behind it"
            yield f"{who} may have sent data first, which no SOCKS proxy does: is its port right?"
        elif cause not in (Cause.CLOSED, Cause.RESET):
            yield "it breaks the protocol: is it another kind of proxy? Its log may say more"
        elif error.place.step is State.METHOD_NEGOTIATION:
            yield f"it ended the connection after the greeting: is {hop.address.port} the port of a SOCKS5 proxy?"
            yield "an access list may refuse this machine, or the hop may have no room for more connections"
            yield from self._may_be_before()
        elif error.place.step is State.REQUEST:
            yield from self._may_be_no_socks4()
            yield "some proxies, such as ssh -D, end the connection instead of reporting that they cannot connect"
            yield from self._refused()
        else:
            yield "it ended the connection after the login: its log may say more"

    def _may_be_no_socks4(self) -> Iterator[str]:
        if self._hop and self._hop.kind.first_step is State.REQUEST:
            port, protocol = self._hop.address.port, self._hop.protocol
            proxy = "an HTTP proxy" if protocol is HopProtocol.HTTP else "a SOCKS4 proxy"
            yield f"{protocol} has no message before this one: is {port} the port of {proxy}?"

    def _may_be_before(self) -> Iterator[str]:
        if self._before and self._hop:
            before = printable(self._before.name)
            yield (
                f"all of this was seen through {before}, which may have connected to something else: "
                f"{_ALONE} connects to {printable(self._hop.name)} directly{_SHOWN}"
            )

    def _refused(self) -> Iterator[str]:
        code, hop = self._walk.refusal, self._hop
        if hop is None:
            return
        name = printable(hop.name)
        if self._next:
            yield from self._suspects(_NEXT_MAY.get(code, "be down, or have another port"))
            if code == ReplyCode.NOT_ALLOWED_BY_RULESET:
                yield f"a rule of {name} forbids it: {name} has to allow connections to {self._next.address}"
            if code == ReplyCode.HOST_UNREACHABLE and self._next.address.type is AddressType.DOMAINNAME:
                yield f"{name} may find no address for {printable(self._next.address.host)}: try an IP address instead"
            return
        yield f"the chain works up to {name}; the failure is between {name} and {self._walk.destination}"
        yield from _DESTINATION_MAY.get(code, ("it does not say why: its log may say more",))

    def _suspects(self, next_may: str) -> Iterator[str]:
        """Say which of two hops may have failed, and how to find out."""
        if self._hop and self._next:
            name, following = printable(self._hop.name), printable(self._next.name)
            second = f"{name}, which may not be allowed to connect there"
            yield f"first suspect: {following}, which may {next_may}; second: {second}"
            yield f"to find out, {_ALONE} connects to {following} directly{_SHOWN}: if that works, {name} is to blame"

    def _no_answer(self, address: Address) -> Iterator[str]:
        host = printable(address.host)
        yield f"nothing answers there: is {host} right, is that machine up, does a firewall drop the packets?"


_SLOW = "if it is only slow: "
_ALONE = "`chainsocks probe --all`"
_SHOWN = " (which shows it your own address)"

_HTTP = "port {port} speaks HTTP: which port speaks {name}?"
_ANOTHER = "is {port} the right port? It does not speak {name}"

_LOOKS_LIKE: dict[Cause, str] = {
    Cause.HTTP_RESPONSE: "port {port} is an HTTP server or proxy, whose scheme is http: which port speaks {name}?",
    Cause.HTTP_REQUEST: _HTTP,
    Cause.HTTP_CONNECT: _HTTP,
    Cause.TLS_ALERT: "port {port} requires TLS: give the hop `tls`, or a scheme such as socks5+tls",
    Cause.TLS: "port {port} speaks TLS: give the hop `tls`, or a scheme such as socks5+tls",
    Cause.SSH: "port {port} is an SSH server: `ssh -D 1080` to it opens a SOCKS proxy on this machine",
    Cause.SMTP_OR_FTP: "port {port} is a mail or FTP server: which port speaks {name}?",
    Cause.SOCKS4_REPLY: 'it speaks SOCKS4: write protocol = "socks4a" (or "socks4"), or socks4a://',
    Cause.SOCKS5: 'it speaks SOCKS5: write protocol = "socks5", or socks5://',
    Cause.SOCKS4: _ANOTHER,
    Cause.PROXY_PROTOCOL: _ANOTHER,
    Cause.RDP: _ANOTHER,
    Cause.NOT_SOCKS: _ANOTHER,
}

_NEXT_MAY: dict[int | None, str] = {
    ReplyCode.CONNECTION_REFUSED: "not be running, or have another port",
    ReplyCode.HOST_UNREACHABLE: "be switched off, or have another address",
    ReplyCode.NETWORK_UNREACHABLE: "have another address",
    ReplyCode.TTL_EXPIRED: "be switched off, or behind a firewall that drops packets",
}

_DESTINATION_MAY: dict[int | None, tuple[str, ...]] = {
    ReplyCode.CONNECTION_REFUSED: ("nothing listens there: is the port right?",),
    ReplyCode.HOST_UNREACHABLE: ("is the name or address right? The hop may resolve names differently",),
    ReplyCode.NETWORK_UNREACHABLE: ("the hop's network has no route there; an IPv6 address needs IPv6 at the hop",),
    ReplyCode.NOT_ALLOWED_BY_RULESET: ("a rule of the hop forbids it: ask its operator, or try port 443",),
    ReplyCode.TTL_EXPIRED: ("nothing answers there: is the address right?",),
    ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED: ("the hop does not accept this kind of address: try a name, or IPv4",),
}
