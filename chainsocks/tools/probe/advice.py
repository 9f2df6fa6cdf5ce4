"""What to try when a walk has failed: by who failed, at which step, and how. No secret is repeated."""

from __future__ import annotations

from collections.abc import Iterator

from chainsocks.errors import (
    Cause,
    ConnectError,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    Step,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address, AddressType, printable
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import ReplyCode
from chainsocks.tools.probe.walk import Failure, Walked

__all__ = ["advise"]


def advise(walked: Walked) -> tuple[str, ...]:
    """Return what to try, the likeliest first; nothing for a walk that came through."""
    failure = walked.failure
    return tuple(_Adviser(walked, failure).advise()) if failure else ()


class _Adviser:
    """A failure, and who takes part in it: the hop, the one behind it, and what it was to reach."""

    def __init__(self, walked: Walked, failure: Failure) -> None:
        hops, position = walked.route.hops, failure.position
        self._chain = walked.route.chain
        self._failure = failure
        self._hop = hops[position - 1] if position else None
        self._before = hops[position - 2] if position and position > 1 else None
        self._next = hops[position] if position and position < len(hops) else None
        self._destination = walked.destination

    def advise(self) -> Iterator[str]:
        error = self._failure.error
        match error:
            case DialTimeout():
                yield from self._too_late(error)
            case ConnectError():
                yield from self._no_connection(error)
            case HopAuthenticationError():
                yield from self._login(error)
            case HopProtocolError():
                yield from self._protocol(error)
            case HopRefused():
                yield from self._refused()
            case UnsupportedAddress():
                yield "change the configuration as it says: nothing was sent to this hop"

    def _no_connection(self, error: DialError) -> Iterator[str]:
        address = error.place.address
        if error.cause is Cause.NAME_NOT_FOUND:
            yield f"is the name right? `getent hosts {printable(address.host)}` shows what this machine finds for it"
            yield "an IP address in its place needs no look-up"
            return
        match error.cause:
            case Cause.CONNECTION_REFUSED:
                yield f"that machine is there, and nothing listens on port {address.port}: is the program running?"
                yield f"is {address.port} the right port? `ss -ltn` there shows which ports are listened on"
            case Cause.NETWORK_UNREACHABLE | Cause.HOST_UNREACHABLE | Cause.NO_ADDRESS_FAMILY:
                if address.type is AddressType.IPV6:
                    yield "this machine may have no IPv6: is there an IPv4 address to use?"
                yield f"this machine has no way to {printable(address.host)}: is the network up, and the address right?"
            case Cause.TOO_MANY_FILES:
                yield "this process may not open more files: try again after `ulimit -n 4096`"
            case Cause.NOT_ALLOWED:
                yield "a firewall on this machine forbids it"
            case Cause.RESET:
                yield f"something took the connection and dropped it: is {address.port} the right port?"
                yield "a firewall, or a list of who may connect, may keep this machine out"
            case Cause.NO_ANSWER:
                yield from self._nobody_answers(address)
            case _:
                yield "is the address right?"

    def _too_late(self, error: DialError) -> Iterator[str]:
        step, address = error.place.step, error.place.address
        match step:
            case Step.RESOLVE:
                yield "the name server of this machine does not answer: an IP address in place of the name needs none"
            case Step.CONNECT:
                yield from self._nobody_answers(address)
            case State.METHOD_NEGOTIATION:
                yield f"something took the connection and says nothing: is {address.port} the port of a SOCKS5 proxy?"
                yield "web servers, and whatever wants TLS or speaks SOCKS4 only, may be silent like this"
                yield from self._may_be_before()
            case State.REQUEST:
                yield from self._may_be_no_socks4()
                if self._next:
                    yield from self._suspects("is switched off or behind a firewall that says nothing")
                else:
                    yield f"{self._destination} may not answer: try a destination that surely does"
            case _:
                yield "it wants a login and does not come to an answer: the service that it checks logins with may hang"
        yield self._longer(step)

    def _longer(self, step: State | Step) -> str:
        """Say which limit it was, and how to have a longer one."""
        if self._failure.chain_is_over:
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
            yield "the username or the password is wrong; it does not say which"
            yield "in a URL, write @ : and % in them as %40 %3A and %25"
        elif self._hop and error.cause in (Cause.GSSAPI_FAILED, Cause.GSSAPI_ABORTED, Cause.GSSAPI_PROTECTION):
            yield "`klist` shows which tickets this user has here; `kinit` gets one"
            yield f"the hop may have keys for another name than {printable(self._hop.address.host)}: its keytab tells"
        elif self._hop and error.cause is Cause.NO_ACCEPTABLE_METHOD:
            yield "it wants another kind of login than a username and password: ask whoever runs it"
        elif self._hop:
            address = self._hop.address
            yield f"give it a login: socks5://USER:PASSWORD@{address}, or `username` and `password_env` in [hops]"

    def _protocol(self, error: DialError) -> Iterator[str]:
        cause, hop = error.cause, self._hop
        if hop is None:
            return
        if cause in _LOOKS_LIKE:
            yield _LOOKS_LIKE[cause].format(port=hop.address.port)
            yield from self._may_be_before()
        elif cause is Cause.UNSOLICITED:
            who = printable(self._next.name) if self._next else "whoever is behind it"
            yield f"{who} may have spoken first, which no SOCKS proxy does: is its port right?"
        elif cause not in (Cause.CLOSED, Cause.RESET):
            yield "it does not keep to the protocol: is it another kind of proxy? Its log may tell more"
        elif error.place.step is State.METHOD_NEGOTIATION:
            yield f"it hung up on our greeting: is {hop.address.port} the port of a SOCKS5 proxy, and not of another?"
            yield "a list of who may connect may keep us out; or it has no room for more connections"
            yield from self._may_be_before()
        elif error.place.step is State.REQUEST:
            yield from self._may_be_no_socks4()
            yield "some proxies, such as ssh -D, hang up instead of saying that they cannot connect"
            yield from self._refused()
        else:
            yield "it hung up on our login: its log may tell more"

    def _may_be_no_socks4(self) -> Iterator[str]:
        if self._hop and self._hop.kind.first_step is State.REQUEST:
            port, protocol = self._hop.address.port, self._hop.protocol
            yield f"this is the first word that {protocol} has: is {port} the port of a SOCKS4 proxy?"

    def _may_be_before(self) -> Iterator[str]:
        if self._before and self._hop:
            before = printable(self._before.name)
            yield (
                f"all of this was seen through {before}, which may have put us through to somebody else: "
                f"{_ALONE} talks to {printable(self._hop.name)} straight from here{_SHOWN}"
            )

    def _refused(self) -> Iterator[str]:
        code, hop = self._failure.code, self._hop
        if hop is None:
            return
        name = printable(hop.name)
        if self._next:
            yield from self._suspects(_NEXT_MAY.get(code, "is down or has another port"))
            if code == ReplyCode.NOT_ALLOWED_BY_RULESET:
                yield f"{name} has a rule against it: it has to be allowed to connect to {self._next.address}"
            if code == ReplyCode.HOST_UNREACHABLE and self._next.address.type is AddressType.DOMAINNAME:
                yield f"{name} may not find the name {printable(self._next.address.host)}: try an IP address for it"
            return
        yield f"the chain works as far as {name}; this is between {name} and {self._destination}"
        yield from _DESTINATION_MAY.get(code, ("it does not say why: its log may tell more",))

    def _suspects(self, next_may: str) -> Iterator[str]:
        """Say which of two hops to suspect, and how to find out."""
        if self._hop and self._next:
            name, following = printable(self._hop.name), printable(self._next.name)
            yield f"suspect {following} first: that it {next_may}; and then {name}: that it may not go there"
            yield f"to find out, {_ALONE} talks to {following} straight from here{_SHOWN}: if that works, it is {name}"

    def _nobody_answers(self, address: Address) -> Iterator[str]:
        host = printable(address.host)
        yield f"nothing answers there: is {host} right, is that machine up, does a firewall on the way drop this?"


_SLOW = "if it is only slow: "
_ALONE = "`chainsocks probe --all`"
_SHOWN = " (and so shows it your own address)"

_HTTP = "port {port} is that of something that speaks HTTP: which port has SOCKS?"
_ANOTHER = "is {port} the right port? What answers there is no SOCKS proxy"

_LOOKS_LIKE: dict[Cause, str] = {
    Cause.HTTP_RESPONSE: "port {port} is that of an HTTP server or HTTP proxy: which port has SOCKS?",
    Cause.HTTP_REQUEST: _HTTP,
    Cause.HTTP_CONNECT: _HTTP,
    Cause.TLS_ALERT: "port {port} wants TLS, and SOCKS has none: is there a port without it?",
    Cause.TLS: "port {port} speaks TLS, and SOCKS has none: is there a port without it?",
    Cause.SSH: "port {port} is that of an SSH server: `ssh -D 1080` to it makes a SOCKS proxy on this machine",
    Cause.SMTP_OR_FTP: "port {port} is that of a mail or FTP server: which port has SOCKS?",
    Cause.SOCKS4_REPLY: 'it speaks SOCKS4: write protocol = "socks4a" (or "socks4"), or socks4a://',
    Cause.SOCKS5: 'it speaks SOCKS5: write protocol = "socks5", or socks5://',
    Cause.SOCKS4: _ANOTHER,
    Cause.PROXY_PROTOCOL: _ANOTHER,
    Cause.RDP: _ANOTHER,
    Cause.NOT_SOCKS: _ANOTHER,
}

_NEXT_MAY: dict[int | None, str] = {
    ReplyCode.CONNECTION_REFUSED: "is not running, or that its port is another",
    ReplyCode.HOST_UNREACHABLE: "is switched off, or that its address is wrong",
    ReplyCode.NETWORK_UNREACHABLE: "has an address that is wrong",
    ReplyCode.TTL_EXPIRED: "is switched off, or behind a firewall that says nothing",
}

_DESTINATION_MAY: dict[int | None, tuple[str, ...]] = {
    ReplyCode.CONNECTION_REFUSED: ("nothing listens there: is the port right?",),
    ReplyCode.HOST_UNREACHABLE: ("is the name or address right? That hop may see other names than this machine",),
    ReplyCode.NETWORK_UNREACHABLE: ("that hop's network has no way there; an IPv6 address needs IPv6 at that hop",),
    ReplyCode.NOT_ALLOWED_BY_RULESET: ("a rule of that hop forbids it: ask whoever runs it, or try port 443",),
    ReplyCode.TTL_EXPIRED: ("nothing answers there: is the address right?",),
    ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED: ("that hop does not take this kind of address: try a name, or IPv4",),
}
