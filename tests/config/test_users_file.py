"""The file with users: its lines, and what it is together with `[[users]]`."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainsocks.config.load import read_file
from chainsocks.config.models import User
from chainsocks.config.passwords import HashedPassword, hash_password
from chainsocks.config.users_file import MOST_PROBLEMS, parse_users
from chainsocks.errors import ConfigError

HASH = "scrypt:16:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAA"
HASHED = HashedPassword(16, 8, 1, bytes(3), bytes(16))
FILE = '[server]\nlisten = "0.0.0.0:1080"\nusers_file = "users"\n'


def parse(text: str) -> tuple[list[tuple[int, User]], list[str]]:
    said: list[str] = []
    return list(parse_users(text, lambda line, message: said.append(f"{line}: {message}"))), said


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f"carol:{HASH}", "carol"),
        (f"  carol:{HASH}\t\r", "carol"),
        (f"carol smith:{HASH}", "carol smith"),
        (f"c:a:scrypt:{HASH}", "c:a:scrypt"),
        (f":{HASH}", ""),
        (f"carol#1:{HASH}", "carol#1"),
        (f"müller:{HASH}", "müller"),
    ],
)
def test_a_line_is_a_name_and_a_hash(line: str, name: str) -> None:
    assert parse(line) == ([(1, User(name, HASHED))], [])


def test_comments_and_empty_lines_are_skipped() -> None:
    assert parse(f"# those who may\n\n  # indented\n   \ncarol:{HASH}\n") == ([(5, User("carol", HASHED))], [])


def test_a_hash_as_the_command_prints_it() -> None:
    hashed = hash_password(b"geheim")
    assert parse(f"carol:{hashed}") == ([(1, User("carol", hashed))], [])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("carol", "expected NAME:HASH, with the hash that `chainsocks hash-password` prints"),
        ("carol:hunter2", "expected NAME:HASH, with the hash that `chainsocks hash-password` prints"),
        (HASH, "expected NAME:HASH, with the hash that `chainsocks hash-password` prints"),
        ("carol:scrypt:hunter2", "expected scrypt:N:r:p:SALT:HASH, as `chainsocks hash-password` prints it"),
        (f"ident:carol:{HASH}", "a name cannot begin with one of gssapi:, ident:, cert:"),
        (f"{'x' * 256}:{HASH}", "a name has at most 255 bytes, this one has 256"),
    ],
)
def test_a_problem_names_its_line_and_repeats_nothing_of_it(line: str, problem: str) -> None:
    users, [said] = parse(f"\n{line}\ncarol:{HASH}")
    assert said.startswith(f"2: {problem}")
    assert "hunter2" not in said
    assert [number for number, _ in users] == [3]


def test_it_adds_to_the_users_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"dave:{HASH}\nerin:{HASH}\n")
    rule = '[[rules]]\nusers = "erin"\ndeny = true\n'
    (tmp_path / "a.toml").write_text(f'{FILE}{rule}[[users]]\nname = "carol"\npassword_hash = "{HASH}"\n')
    config = read_file(tmp_path / "a.toml").config
    assert [user.name for user in config.users] == ["carol", "dave", "erin"]
    assert config.exposed == ()


def refusals(folder: Path, users: str, more: str = "") -> list[str]:
    (folder / "users").write_text(users)
    (folder / "a.toml").write_text(FILE + more)
    with pytest.raises(ConfigError) as caught:
        read_file(folder / "a.toml")
    return [str(problem) for problem in caught.value.problems]


def test_a_name_stands_there_once(tmp_path: Path) -> None:
    carol = f'[[users]]\nname = "carol"\npassword_hash = "{HASH}"\n'
    assert refusals(tmp_path, f"dave:{HASH}\ncarol:{HASH}\ndave:{HASH}", carol) == [
        "server.users_file: line 2: the user is declared in [[users]] already; remove one",
        "server.users_file: line 3: the user is declared on line 1 already; remove one",
    ]


@pytest.mark.parametrize("text", ["", "# none yet\n"])
def test_a_file_without_a_user_does_not_open_the_server(tmp_path: Path, text: str) -> None:
    expected = "there is no user in the file, so every client would be let in; add one as NAME:HASH"
    assert refusals(tmp_path, text) == [f"server.users_file: {expected}"]


def test_the_first_problems_of_many(tmp_path: Path) -> None:
    said = refusals(tmp_path, "x\n" * 30, '[[rules]]\nusers = "carol"\ndeny = true\n')
    assert len(said) == MOST_PROBLEMS + 1
    assert said[-1] == "server.users_file: 10 more lines have problems"


def test_a_file_that_is_not_here_is_a_problem_and_a_warning_where_it_is_only_checked(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(FILE + '[[rules]]\nusers = "carol"\ndeny = true\n')
    said = "server.users_file: the file cannot be read: No such file or directory"
    with pytest.raises(ConfigError, match=said):
        read_file(tmp_path / "a.toml")
    loaded = read_file(tmp_path / "a.toml", lint=True)
    assert [str(each).startswith(said) for each in loaded.warnings] == [True]
    assert loaded.config.users  # a login is required
