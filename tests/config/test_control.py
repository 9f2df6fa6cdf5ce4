import pytest

from chainsocks.config.control import Control, parse_control_socket
from chainsocks.config.load import parse_config
from chainsocks.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('socket = "off"', "off"),
        ('socket = "/run/chainsocks/control"', "/run/chainsocks/control"),
        ('socket = "unix:/run/chainsocks/control"', "/run/chainsocks/control"),
        ("", None),
    ],
)
def test_the_socket_is_a_path_or_off(written: str, read: str | None) -> None:
    assert parse_config(f"[control]\n{written}\n").control == Control(read)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("run/control", 'expected "off", or a path that starts with /'),
        ("", 'expected "off"'),
        ("/" + 100 * "x", "at most 100 bytes"),
    ],
)
def test_another_value_is_an_error(value: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_control_socket(value)
    with pytest.raises(ConfigError, match="control.socket: .*" + problem):
        parse_config(f'[control]\nsocket = "{value}"\n')
