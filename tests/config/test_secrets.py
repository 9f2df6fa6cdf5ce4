"""Passwords in environment variables and in files, and what is said of those that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chainsocks.config.load import read_file
from chainsocks.config.passwords import PlainPassword
from chainsocks.config.secrets import LARGEST_LIST, Missing, Secrets, others_can_read
from chainsocks.errors import ConfigError
from chainsocks.protocol.messages import UsernamePassword
from tests.config.files import complaint_of

# --- in the environment -----------------------------------------------------------------------------------------------


def test_a_secret_comes_from_the_environment_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMA_PASSWORD", "geheím\udcff")
    assert Secrets().from_variable("LIMA_PASSWORD") == "geheím".encode() + b"\xff"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("LIMA_PASSWORD", "the environment variable LIMA_PASSWORD is not set"),
        ("_L1MA", "the environment variable _L1MA is not set"),
        pytest.param("hunter2", "the environment variable of this name is not set", id="perhaps the password itself"),
        pytest.param("1MA", "the environment variable of this name is not set", id="starts with a digit"),
        pytest.param("", "the environment variable of this name is not set", id="no name"),
        pytest.param("A=B", "the environment variable of this name is not set", id="impossible name"),
        pytest.param("A\0B", "the environment variable of this name is not set", id="NUL"),
    ],
)
def test_a_secret_that_is_not_there(name: str, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMA_PASSWORD", raising=False)
    assert complaint_of(Secrets().from_variable, name) == complaint


def test_an_empty_secret_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMA_PASSWORD", "")
    with pytest.raises(ValueError, match="LIMA_PASSWORD is not set"):
        Secrets().from_variable("LIMA_PASSWORD")


# --- in files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"geheim", b"geheim"),
        (b"geheim\n", b"geheim"),
        (b"geheim\r\n", b"geheim"),
        (b"geheim\r", b"geheim\r"),
        (b"geheim\n\n", b"geheim\n"),
        (b" a b \n", b" a b "),
        (b"\xff\xfe\n", b"\xff\xfe"),
        (b"x" * 255 + b"\r\n", b"x" * 255),
    ],
)
def test_a_password_is_the_file_without_one_line_break_at_its_end(
    tmp_path: Path, content: bytes, password: bytes
) -> None:
    (tmp_path / "it").write_bytes(content)
    assert Secrets(tmp_path).from_file("it") == password


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the file with the password is empty"),
        (b"\n", "the file with the password is empty"),
        (b"\r\n", "the file with the password is empty"),
        (b"x" * 256, "a password has at most 255 bytes, and the file has more"),
        (b"x" * 10_000_000, "a password has at most 255 bytes, and the file has more"),
        (b"g\0e\0", "the file with the password has a NUL byte in it; expected plain text"),
    ],
    ids=["empty", "line break", "CR LF", "256", "large", "UTF-16"],
)
def test_a_file_that_holds_no_password(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "it").write_bytes(content)
    assert complaint_of(Secrets(tmp_path).from_file, "it") == complaint


RELATIVE = "; a relative path begins at the configuration file"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # with a plain open, this test would hang
    secrets = Secrets(tmp_path)
    for path, complaint in [
        ("hunter2", f"the file cannot be read: No such file or directory{RELATIVE}"),
        ("/hunter2", "the file cannot be read: No such file or directory"),
        (".", f"the file cannot be read: Is a directory{RELATIVE}"),
        ("pipe", "expected a regular file"),
        ("/dev/zero", "expected a regular file"),
        ("x" * 5000, f"the file cannot be read: File name too long{RELATIVE}"),
        ("", "expected the path of a file"),
        ("a\0b", "expected the path of a file"),
    ]:
        assert complaint_of(secrets.from_file, path) == complaint


def test_a_password_with_blanks_around_it_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"geheim \n")
    said: list[tuple[str, str]] = []
    Secrets(tmp_path, warn=lambda key, message: said.append((key, message))).from_file("it")
    assert said == [("password_file", "the password in the file begins or ends with a blank or a line break")]


@pytest.mark.parametrize("written", ["$CREDENTIALS_DIRECTORY/paris", "${CREDENTIALS_DIRECTORY}/paris"])
def test_a_credential_of_a_systemd_unit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str) -> None:
    (tmp_path / "paris").write_bytes(b"geheim")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Secrets(Path("/elsewhere")).from_file(written) == b"geheim"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    expected = "CREDENTIALS_DIRECTORY is not set: systemd sets it for a unit with LoadCredential="
    assert complaint_of(Secrets().from_file, written) == expected


def test_a_kubernetes_secret_that_is_replaced(tmp_path: Path) -> None:
    """The files of such a mount are links into a folder that is a link, which is exchanged as a whole."""
    for version, content in (("..1", b"old"), ("..2", b"new")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "paris").write_bytes(content)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "paris").symlink_to("..data/paris")
    secrets = Secrets(tmp_path)
    assert secrets.from_file("paris") == b"old"
    (tmp_path / "next").symlink_to("..2")
    (tmp_path / "next").rename(tmp_path / "..data")
    assert secrets.from_file("paris") == b"new"


def test_a_file_that_others_can_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"geheim")
    path.chmod(0o644)
    assert not others_can_read(path)  # the folder of a test is private
    monkeypatch.setattr(Path, "parents", property(lambda _: ()))
    assert others_can_read(path)
    said: list[tuple[str, str]] = []
    Secrets(tmp_path, warn=lambda key, message: said.append((key, message))).from_file("it")
    assert said == [("password_file", f"every user of this machine can read the file: chmod o= {path}")]
    path.chmod(0o640)
    assert not others_can_read(path)


def test_a_list_is_text_of_limited_size(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes("\ufeffcarol:ü".encode())
    assert Secrets(tmp_path).list_from_file("users_file", "users") == "carol:ü"
    path.write_bytes(b"\xff")
    assert complaint_of(Secrets(tmp_path).list_from_file, "users_file", "users") == "the file is not UTF-8 text"
    with path.open("wb") as file:
        file.truncate(LARGEST_LIST + 1)
    assert complaint_of(Secrets(tmp_path).list_from_file, "users_file", "users") == "the file has more than 8 MiB"


def test_what_is_missing_gets_a_stand_in_where_a_file_is_only_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    said: list[tuple[str, str]] = []
    secrets = Secrets(tmp_path, Missing.WARNING, lambda key, message: said.append((key, message)))
    paths = ["a", "b", "$CREDENTIALS_DIRECTORY/a", "x" * 500]
    assert len({secrets.from_file(path) for path in paths}) == len(paths)
    assert secrets.list_from_file("users_file", "none") is None
    assert [key for key, _ in said] == ["password_file"] * len(paths) + ["users_file"]
    (tmp_path / "a").touch()
    assert complaint_of(secrets.from_file, "a") == "the file with the password is empty"


# --- in a configuration -----------------------------------------------------------------------------------------------

FILE = """
[hops.paris]
protocol = "socks5"
address = "paris.example"
username = "bob"
password_file = "secrets/paris"
[chains]
default = ["paris"]
[[users]]
name = "carol"
password_file = "secrets/carol"
"""


def test_paths_begin_in_the_folder_of_the_configuration_and_are_read_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "chainsocks.toml").write_text(FILE)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for password in ("old", "new"):
        (secrets / "paris").write_text(f"{password} paris\n")
        (secrets / "carol").write_text(f"{password} carol\n")
        monkeypatch.chdir("/" if password == "old" else tmp_path)
        config = read_file(tmp_path / "chainsocks.toml" if password == "old" else Path("chainsocks.toml")).config
        assert config.hops["paris"].credentials == UsernamePassword(b"bob", f"{password} paris".encode())
        assert config.users[0].password == PlainPassword(f"{password} carol".encode())


def test_a_problem_has_the_place_and_not_the_path(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(FILE.replace("secrets/", "hunter2"))
    with pytest.raises(ConfigError) as caught:
        read_file(tmp_path / "a.toml")
    said = f"the file cannot be read: No such file or directory{RELATIVE}"
    assert [str(problem) for problem in caught.value.problems] == [f"hops.paris: {said}", f"users[1]: {said}"]
    warnings = read_file(tmp_path / "a.toml", lint=True).warnings
    assert [str(each) for each in warnings] == [
        f"hops.paris.password_file: {said}",
        f"users[1].password_file: {said}",
    ]
