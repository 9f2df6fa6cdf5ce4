"""Kerberos itself, against a KDC of the test's own, under both async libraries."""

from __future__ import annotations

import importlib
import socket
import threading
from types import SimpleNamespace

import anyio
import pytest

from chainsocks.errors import GssError
from chainsocks.gss.contexts import Acceptor, Context, Mechanism, mechanism
from chainsocks.protocol.gssapi import Gssapi, Protection
from tests.e2e.kerberos import HOST, Realm
from tests.e2e.programs import find_module

LOGIN = Gssapi(Protection.CONFIDENTIALITY)
INTEGRITY, CONFIDENTIALITY = Protection.INTEGRITY, Protection.CONFIDENTIALITY

Sides = tuple[Context, Acceptor]


@pytest.fixture
def kerberos(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> Mechanism:
    """The mechanism, in an environment that has carol's tickets and the services' keys."""
    find_module("gssapi", "libkrb5-dev, then pip install gssapi")
    use(realm, monkeypatch)
    return mechanism()


def use(realm: Realm, monkeypatch: pytest.MonkeyPatch, user: str = "carol") -> None:
    for name, value in realm.environment(user).items():
        monkeypatch.setenv(name, value)


async def establish(kerberos: Mechanism, login: Gssapi = LOGIN, keytab: str | None = None) -> Sides:
    ours, theirs = kerberos.initiate(login, HOST), kerberos.accept(keytab)
    assert await ours.step(await theirs.step(await ours.step(b""))) == b""
    assert ours.complete
    assert theirs.complete
    return ours, theirs


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_they_come_to_know_each_other(kerberos: Mechanism, backend: str) -> None:
    async def go() -> None:
        _, theirs = await establish(kerberos)
        assert theirs.principal == "carol@TEST.EXAMPLE"
        assert theirs.service == "rcmd"

    anyio.run(go, backend=backend)


async def test_the_service_and_its_host_may_be_named(kerberos: Mechanism) -> None:
    ours, theirs = kerberos.initiate(Gssapi(INTEGRITY, "socks", HOST), "192.0.2.1"), kerberos.accept(None)
    await theirs.step(await ours.step(b""))
    assert theirs.service == "socks"


async def test_the_keytab_may_be_named(kerberos: Mechanism, realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRB5_KTNAME", "/nonexistent")
    await establish(kerberos, keytab=str(realm.keytab))


@pytest.mark.parametrize("protection", list(Protection)[:3], ids=str)
async def test_capsules(kerberos: Mechanism, protection: Protection) -> None:
    ours, theirs = await establish(kerberos)
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        for data in (b"", b"hello", bytes(32 * 1024)):
            token = sender.wrap(data, protection)
            assert receiver.unwrap(token, protection) == data
            assert (b"hello" in token) is (data == b"hello" and protection is not CONFIDENTIALITY)


async def test_capsules_that_were_tampered_with(kerberos: Mechanism) -> None:
    ours, theirs = await establish(kerberos)
    first, second, third = (ours.wrap(data, INTEGRITY) for data in (b"first", b"second", b"third"))
    for wrong in (b"", b"garbage", first[:-1], first[:-1] + bytes((first[-1] ^ 1,))):
        with pytest.raises(GssError):
            theirs.unwrap(wrong, INTEGRITY)
    assert theirs.unwrap(first, INTEGRITY) == b"first"
    for repeated_or_early in (first, third):
        with pytest.raises(GssError):
            theirs.unwrap(repeated_or_early, INTEGRITY)
    stranger = (await establish(kerberos))[1]
    with pytest.raises(GssError):
        stranger.unwrap(second, INTEGRITY)


async def test_a_capsule_that_is_less_protected_than_agreed(kerberos: Mechanism) -> None:
    ours, theirs = await establish(kerberos)
    with pytest.raises(GssError, match="not encrypted, although"):
        theirs.unwrap(ours.wrap(b"bare", INTEGRITY), CONFIDENTIALITY)


async def test_a_mechanism_that_does_not_encrypt(kerberos: Mechanism, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = await establish(kerberos)
    bare = SimpleNamespace(message=b"token", encrypted=False)
    monkeypatch.setattr(kerberos._SecurityContext, "wrap", lambda *_: bare)  # type: ignore[attr-defined]
    assert ours.wrap(b"secret", INTEGRITY) == b"token"
    with pytest.raises(GssError, match="did not encrypt"):
        ours.wrap(b"secret", CONFIDENTIALITY)


async def test_a_context_has_what_the_rfc_wants_and_no_delegation(kerberos: Mechanism) -> None:
    """RFC 1961 section 3.2."""
    flags = importlib.import_module("gssapi").RequirementFlag
    for context in await establish(kerberos):
        actual = set(context._context.actual_flags)  # type: ignore[attr-defined]
        assert actual >= {flags.mutual_authentication, flags.replay_detection, flags.out_of_sequence_detection}
        assert flags.delegate_to_peer not in actual


def test_nobody_wraps_before_they_know_each_other(kerberos: Mechanism) -> None:
    with pytest.raises(RuntimeError, match="not complete"):
        kerberos.accept(None).wrap(b"", INTEGRITY)


@pytest.mark.parametrize(
    ("login", "complaint"),
    [
        (Gssapi(INTEGRITY, "smtp"), r"smtp/localhost@TEST.EXAMPLE not found in Kerberos database"),
        (Gssapi(INTEGRITY, host="elsewhere.example"), "krbtgt/EXAMPLE@TEST.EXAMPLE not found"),
    ],
    ids=["service", "host"],
)
async def test_a_service_that_nobody_knows(kerberos: Mechanism, login: Gssapi, complaint: str) -> None:
    with pytest.raises(GssError, match=complaint):
        await kerberos.initiate(login, HOST).step(b"")


async def test_without_tickets_it_says_what_to_do(
    kerberos: Mechanism, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(realm, monkeypatch, "nobody")
    with pytest.raises(GssError, match=r"No Kerberos credentials available \(default cache: .*\); run kinit, or set"):
        await kerberos.initiate(LOGIN, HOST).step(b"")


async def test_tickets_may_come_from_a_keytab(
    kerberos: Mechanism, realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(realm, monkeypatch, "nobody")
    monkeypatch.setenv("KRB5CCNAME", "MEMORY:tickets")
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", str(realm.directory / "eve.keytab"))
    assert (await establish(kerberos))[1].principal == "eve@TEST.EXAMPLE"


async def test_without_keys_it_says_what_to_do(kerberos: Mechanism) -> None:
    token = await kerberos.initiate(LOGIN, HOST).step(b"")
    with pytest.raises(GssError, match="nonexistent or empty; set gssapi_keytab in"):
        await kerberos.accept("/nonexistent").step(token)


@pytest.mark.parametrize("token", [b"", b"garbage", b"\x60\x03\x06\x01\x00"])
async def test_what_is_no_ticket(kerberos: Mechanism, token: bytes) -> None:
    acceptor = kerberos.accept(None)
    with pytest.raises(GssError):
        await acceptor.step(token)
    assert not acceptor.complete


async def test_a_ticket_that_was_changed_makes_nobody_somebody_else(kerberos: Mechanism) -> None:
    """A few of its bits mean nothing; all others are refused, in words."""
    token = await kerberos.initiate(LOGIN, HOST).step(b"")
    refusals = []
    places = range(0, len(token), 5)
    for place in places:
        acceptor = kerberos.accept(None)
        try:
            await acceptor.step(token[:place] + bytes((token[place] ^ 1,)) + token[place + 1 :])
        except GssError as error:
            refusals.append(str(error))
        else:
            if acceptor.complete:
                assert (acceptor.principal, acceptor.service) == ("carol@TEST.EXAMPLE", "rcmd")
    assert len(refusals) > 0.9 * len(places)
    assert not {"", "Success"} & {*refusals}


async def test_a_peer_that_does_not_prove_itself(kerberos: Mechanism) -> None:
    ours = kerberos.initiate(LOGIN, HOST)
    await ours.step(b"")
    with pytest.raises(GssError):
        await ours.step(b"I am the one")
    assert not ours.complete


async def test_a_protection_that_the_context_does_not_support(
    kerberos: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = await establish(kerberos)
    monkeypatch.setattr(ours, "_supported", frozenset())
    for protection in (INTEGRITY, CONFIDENTIALITY):
        with pytest.raises(GssError, match=f"this context does not support {protection.name.lower()}"):
            ours.wrap(b"secret", protection)
        with pytest.raises(GssError, match=f"this context does not support {protection.name.lower()}"):
            ours.unwrap(b"token", protection)


async def test_steps_that_hang_take_no_thread_that_others_need(
    kerberos: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(kerberos._Context, "_step", lambda *_: bytes(answered.wait()))  # type: ignore[attr-defined]
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(kerberos.initiate(LOGIN, HOST).step, b"")
            group.start_soon(kerberos.accept(None).step, b"")
        await anyio.wait_all_tasks_blocked()
        assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        answered.set()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_mute_kdc_does_not_hold_up_who_waits_no_longer(
    kerberos: Mechanism, realm: Realm, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config = (realm.directory / "krb5.conf").read_text()
        kdc = next(line for line in config.splitlines() if line.startswith("kdc ="))
        elsewhere = realm.directory / "mute.conf"
        elsewhere.write_text(config.replace(kdc, f"kdc = 127.0.0.1:{mute.getsockname()[1]}"))
        monkeypatch.setenv("KRB5_CONFIG", str(elsewhere))

        async def go() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(kerberos.initiate(Gssapi(INTEGRITY, "smtp"), HOST).step, b"")
                connection, _ = await anyio.to_thread.run_sync(mute.accept)
                group.cancel_scope.cancel()
            connection.close()

        anyio.run(go, backend=backend)
