"""Hops as URLs, and the logins in them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate, Pipeline, Resolve
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.kinds import SCHEMES, TLS_SCHEMES, HopProtocol
from chainsocks.config.load import parse_config
from chainsocks.errors import ConfigError
from chainsocks.protocol.address import Address, UnixAddress
from chainsocks.protocol.messages import Credentials, IsolationLogin, UserId, UsernamePassword
from tests.config.files import complaint_of

SOCKS4, SOCKS4A, SOCKS5, HTTP = HopProtocol


def login(username: str, password: str) -> UsernamePassword:
    return UsernamePassword(username.encode(), password.encode())


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "protocol", "address"),
    [
        ("socks4://10.0.0.1:1081", SOCKS4, Address("10.0.0.1", 1081)),
        ("socks4a://10.0.0.1:1081", SOCKS4A, Address("10.0.0.1", 1081)),
        ("socks5://10.0.0.1:1081", SOCKS5, Address("10.0.0.1", 1081)),
        pytest.param("socks5h://10.0.0.1:1081", SOCKS5, Address("10.0.0.1", 1081), id="curl's word for socks5"),
        pytest.param("SOCKS5://10.0.0.1:1081", SOCKS5, Address("10.0.0.1", 1081), id="scheme in capitals"),
        pytest.param("socks5://paris.example:1081", SOCKS5, Address("paris.example", 1081), id="name"),
        pytest.param("socks5://paris.example", SOCKS5, Address("paris.example", 1080), id="name without port"),
        pytest.param("socks5://10.0.0.1", SOCKS5, Address("10.0.0.1", 1080), id="IPv4 without port"),
        pytest.param("socks5://[::1]:1081", SOCKS5, Address("::1", 1081), id="IPv6"),
        pytest.param("socks5://[::1]", SOCKS5, Address("::1", 1080), id="IPv6 without port"),
        pytest.param("socks5://paris.example:", SOCKS5, Address("paris.example", 1080), id="colon without port"),
        pytest.param("socks5://paris.example:1081/", SOCKS5, Address("paris.example", 1081), id="slash at the end"),
        pytest.param("socks5://paris.example:1", SOCKS5, Address("paris.example", 1), id="lowest port"),
        pytest.param("socks5://paris.example:65535", SOCKS5, Address("paris.example", 65535), id="highest port"),
    ],
)
def test_a_url_says_how_and_where(url: str, protocol: HopProtocol, address: Address) -> None:
    assert parse_hop_url(url) == Hop(str(address), protocol, address, credentials=None)


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [
        pytest.param("alice:secret", login("alice", "secret"), id="plain"),
        pytest.param("alice:se:cr:et", login("alice", "se:cr:et"), id="colons in the password"),
        pytest.param("alice:s/e#c?r&e=t", login("alice", "s/e#c?r&e=t"), id="what is special in a URL"),
        pytest.param("alice:/?#", login("alice", "/?#"), id="nothing but what is special"),
        pytest.param("alice:se cret", login("alice", "se cret"), id="space"),
        pytest.param("alice:s://ecret", login("alice", "s://ecret"), id="like a scheme"),
        pytest.param("alice:[::1]:1080", login("alice", "[::1]:1080"), id="like an address"),
        pytest.param("alice:s@cret", login("alice", "s@cret"), id="bare @: the last one ends the login"),
        pytest.param("alice:s%40cret", login("alice", "s@cret"), id="encoded @"),
        pytest.param("a%3Al%3aice:secret", login("a:l:ice", "secret"), id="encoded colons in the user"),
        pytest.param("alice:100%25", login("alice", "100%"), id="encoded percent"),
        pytest.param("alice:100%", login("alice", "100%"), id="percent that encodes nothing"),
        pytest.param("alice:a+b", login("alice", "a+b"), id="a plus is a plus"),
        pytest.param("al%C3%AFce:gehe%C3%ADm", login("alïce", "geheím"), id="encoded UTF-8"),
        pytest.param("alïce:geheím", login("alïce", "geheím"), id="UTF-8 as it is"),
        pytest.param("alice:%FF%00", UsernamePassword(b"alice", b"\xff\0"), id="bytes that are no text"),
        pytest.param("a" * 255 + ":" + "b" * 255, login("a" * 255, "b" * 255), id="as long as RFC 1929 allows"),
    ],
)
def test_a_login_in_a_url(userinfo: str, credentials: Credentials) -> None:
    hop = parse_hop_url(f"socks5://{userinfo}@paris.example:1080")
    assert (hop.credentials, hop.address) == (credentials, Address("paris.example", 1080))


@pytest.mark.parametrize("scheme", ["socks4", "socks4a"])
@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [("fred", UserId(b"fred")), ("fr%40d", UserId(b"fr@d")), ("", UserId(b"")), ("u" * 512, UserId(b"u" * 512))],
    ids=["plain", "encoded", "empty", "longest"],
)
def test_a_user_id_in_a_url(scheme: str, userinfo: str, credentials: Credentials) -> None:
    assert parse_hop_url(f"{scheme}://{userinfo}@10.0.0.1").credentials == credentials


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [
        ("token:", UsernamePassword(b"token", b"")),
        ("token", UsernamePassword(b"token", b"")),
        (":token", UsernamePassword(b"", b"token")),
        (":", UsernamePassword(b"", b"")),
    ],
)
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_an_empty_half_of_a_login_in_a_url(scheme: str, userinfo: str, credentials: Credentials) -> None:
    assert parse_hop_url(f"{scheme}://{userinfo}@paris.example").credentials == credentials


@given(username=st.binary(max_size=255), password=st.binary(max_size=255))
def test_any_login_can_be_written_percent_encoded(username: bytes, password: bytes) -> None:
    userinfo = ":".join(quote_from_bytes(part, safe="") for part in (username, password))
    assert parse_hop_url(f"socks5://{userinfo}@paris.example").credentials == UsernamePassword(username, password)


EXPECTED_URL = f"a URL such as socks5://host:1080; it begins with {', '.join([*SCHEMES, *TLS_SCHEMES])}"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        pytest.param("", f"expected {EXPECTED_URL}", id="nothing"),
        pytest.param("paris.example:1080", f"expected {EXPECTED_URL}", id="no scheme"),
        pytest.param("hunter2", f"expected {EXPECTED_URL}", id="perhaps the password itself"),
        pytest.param("socks5:paris.example", f"expected {EXPECTED_URL}", id="no slashes"),
        pytest.param("://paris.example", f"expected {EXPECTED_URL}", id="empty scheme"),
        pytest.param("alice:s://ecret@paris.example", f"expected {EXPECTED_URL}", id="no scheme but a login like one"),
        pytest.param("sock5://paris.example", "unknown scheme 'sock5'; did you mean 'socks5'?", id="misspelt"),
        pytest.param("SOKCS4A://paris.example", "unknown scheme 'SOKCS4A'; did you mean 'socks4a'?", id="misspelt 4a"),
        pytest.param("ssh://paris.example", f"unknown scheme 'ssh'; use {EXPECTED_URL}", id="another protocol"),
        pytest.param(
            "socks5://@paris.example",
            "no login stands before the @: take it out, or write :@ for an empty username and password",
            id="no login",
        ),
        pytest.param(
            f"socks5://alice:{'ü' * 128}@paris.example",
            "a password has at most 255 bytes, this one has 256",
            id="password too long in bytes",
        ),
        pytest.param(
            "socks4://fred:x@10.0.0.1",
            "socks4 has a user id and no password; use socks5 for a password",
            id="socks4 with a password",
        ),
        pytest.param(
            "socks4a://fred:@10.0.0.1",
            "socks4a has a user id and no password; use socks5 for a password",
            id="socks4a with an empty password",
        ),
        pytest.param(
            "socks4://fr%00ed@10.0.0.1", "a user id has at most 512 bytes, none of them NUL", id="NUL in a user id"
        ),
    ],
)
def test_what_no_hop_url_is(url: str, complaint: str) -> None:
    assert complaint_of(parse_hop_url, url) == complaint


@given(st.text() | st.text().map("socks5://{}".format) | st.text().map("socks4://{}@host".format))
def test_any_text_is_a_hop_or_a_value_error(url: str) -> None:
    try:
        hop = parse_hop_url(url)
    except ValueError:
        return
    assert 1 <= hop.address.port <= 65535


# --- hops -------------------------------------------------------------------------------------------------------------


def test_a_hop_is_called_by_its_address_until_it_gets_a_name() -> None:
    url = "socks5://alice:secret@[::1]:9050"
    assert parse_hop_url(url).name == "[::1]:9050"
    assert parse_hop_url(url, "tor").name == "tor"


def test_the_defaults_of_a_hop() -> None:
    hop = parse_hop_url("socks5://paris.example")
    assert (hop.credentials, hop.timeout, hop.resolve) == (None, None, Resolve.REMOTE)


@pytest.mark.parametrize("url", ["socks5://alice:secret@paris.example", "socks4://alice-secret@10.0.0.1"])
def test_a_hop_shows_no_login(url: str) -> None:
    hop = parse_hop_url(url)
    for shown in (repr(hop), str(hop), repr(Chain(hop)), str(Chain(hop))):
        assert "alice" not in shown
        assert "secret" not in shown


IPV4, NAME, IPV6 = Address("192.0.2.1", 80), Address("example.org", 80), Address("2001:db8::1", 80)


@pytest.mark.parametrize(
    ("protocol", "resolve", "carried"),
    [
        (SOCKS4, Resolve.REMOTE, {IPV4}),
        (SOCKS4, Resolve.LOCAL, {IPV4, NAME}),
        (SOCKS4A, Resolve.REMOTE, {IPV4, NAME}),
        (SOCKS4A, Resolve.LOCAL, {IPV4, NAME}),
        (SOCKS5, Resolve.REMOTE, {IPV4, NAME, IPV6}),
        (SOCKS5, Resolve.LOCAL, {IPV4, NAME, IPV6}),
    ],
)
def test_what_a_hop_can_be_asked_for(protocol: HopProtocol, resolve: Resolve, carried: set[Address]) -> None:
    hop = Hop("osaka", protocol, Address("10.0.0.1", 1080), resolve=resolve)
    assert {target for target in (IPV4, NAME, IPV6) if hop.cannot_carry(target) is None} == carried


@pytest.mark.parametrize(
    ("protocol", "target", "why"),
    [
        (SOCKS4, IPV6, "socks4 cannot carry the IPv6 address of [2001:db8::1]:80; only socks5 and http can"),
        (SOCKS4A, IPV6, "socks4a cannot carry the IPv6 address of [2001:db8::1]:80; only socks5 and http can"),
        (
            SOCKS4,
            NAME,
            'plain socks4 cannot carry the name in example.org:80; give this hop protocol = "socks4a", '
            'or resolve = "local" (which shows the name to the local resolver)',
        ),
    ],
    ids=["IPv6 by socks4", "IPv6 by socks4a", "name by socks4"],
)
def test_a_hop_says_why_it_cannot(protocol: HopProtocol, target: Address, why: str) -> None:
    assert Hop("osaka", protocol, Address("10.0.0.1", 1080)).cannot_carry(target) == why


@pytest.mark.parametrize("protocol", [SOCKS4, SOCKS4A])
def test_tor_speaks_socks5(protocol: HopProtocol) -> None:
    why = f"tor cannot be used with protocol '{protocol}'; only socks5 has its commands"
    with pytest.raises(ValueError, match=f"^{why}$"):
        Hop("tor", protocol, Address("127.0.0.1", 9050), tor=True)


def test_a_chain_knows_whether_it_isolates() -> None:
    tor = Hop("tor", SOCKS5, Address("127.0.0.1", 9050), isolate=Isolate.USER)
    assert Chain("socks5://paris.example", tor).isolates
    assert not Chain("socks5://paris.example").isolates


class TestIdentity:
    HOP = parse_hop_url("socks5://bob:hunter2@gw:1080", "gw")

    def test_the_name_and_the_limits_are_no_part_of_it(self) -> None:
        other = replace(self.HOP, name="other", timeout=5, resolve=Resolve.LOCAL, pipeline=Pipeline.HOP)
        assert other.identity == self.HOP.identity
        assert hash(other.identity) == hash(self.HOP.identity)

    @pytest.mark.parametrize("url", ["socks5://bob:hunter3@gw", "socks5://bob:hunter2@gw:1081", "socks4://bob@gw"])
    def test_protocol_address_and_login_are(self, url: str) -> None:
        assert parse_hop_url(url, "gw").identity != self.HOP.identity

    def test_a_login_made_for_isolation_is_not(self) -> None:
        plain = parse_hop_url("socks5://gw")
        assert replace(plain, credentials=IsolationLogin(b"a", b"b")).identity == plain.identity

    def test_it_is_never_printed(self) -> None:
        assert "gw" not in repr(self.HOP.identity)
        assert "bob" not in repr(self.HOP)

    def test_it_survives_the_way_to_another_process(self) -> None:
        """Hashes of texts differ from process to process."""
        code = (
            "import pickle, sys; from chainsocks.config.hops import parse_hop_url\n"
            "hop = pickle.load(sys.stdin.buffer); assert hop.identity in {parse_hop_url(sys.argv[1]).identity}"
        )
        url = "socks5://bob:hunter2@gw:1080"
        subprocess.run([sys.executable, "-c", code, url], input=pickle.dumps(self.HOP), check=True)


@pytest.mark.parametrize(
    ("url", "path", "login"),
    [
        ("socks5://unix:/run/tor/socks", "/run/tor/socks", None),
        ("socks5://unix:/a@b/", "/a@b/", None),
        ("socks5://al:pw@unix:/a@unix:/b", "/a@unix:/b", UsernamePassword(b"al", b"pw")),
        ("socks4a://fred@unix:/x", "/x", UserId(b"fred")),
        ("https://unix:/x", "/x", None),
    ],
)
def test_a_hop_at_a_unix_socket(url: str, path: str, login: object) -> None:
    hop = parse_hop_url(url)
    assert isinstance(hop.address, UnixAddress)
    assert (hop.address.path, str(hop.address), hop.name) == (path, f"unix:{path}", f"unix:{path}")
    assert hop.credentials == login
    assert hop.is_unix
    assert "at a unix socket" in (hop.carries_no_udp or "")
    assert Hop("x", hop.protocol, f"unix:{path}").address == hop.address == pickle.loads(pickle.dumps(hop.address))


@pytest.mark.parametrize("url", ["socks5://unix:run", "socks5://unix:", "socks5://unix:/" + "x" * 107])
def test_what_is_no_unix_socket(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_hop_url(url)


def test_only_a_first_hop_can_be_at_a_unix_socket() -> None:
    hop = parse_hop_url("socks5://unix:/x")
    assert "has to be the first" in (parse_hop_url("socks5://a").cannot_carry(hop.address) or "")
    with pytest.raises(ValueError, match="this hop is at a unix socket"):
        Hop("x", "socks5", "unix:/x", mark=7)
    text = '[hops]\na = "socks5://a"\nb = "socks5://unix:/x"\n[chains]\nc = ["a", "b"]'
    with pytest.raises(ConfigError, match=r"chains\.c\[1\]: no hop can connect to a unix socket of this machine"):
        parse_config(text)
