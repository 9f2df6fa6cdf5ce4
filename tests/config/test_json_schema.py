"""The JSON Schema of the file: what can be read fits it, and mistakes of form do not."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from chainsocks.config.json_schema import json_schema
from chainsocks.config.sections import SECTIONS
from chainsocks.errors import ConfigError
from tests.config.drawing import files
from tests.config.files import Toml, emit, reading
from tests.manual.pages import DOCUMENTS, ROOT, Block, blocks

SCHEMA = json_schema({})
VALIDATOR = Draft202012Validator(SCHEMA)

EXAMPLES = sorted(ROOT.glob("examples/**/*.toml"))
BLOCKS = [block for page in DOCUMENTS for block in blocks(page, "toml")]


def fits(text: str) -> bool:
    return bool(VALIDATOR.is_valid(tomllib.loads(text)))


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_fits(path: object) -> None:
    VALIDATOR.validate(tomllib.loads(path.read_text("utf-8")))  # type: ignore[attr-defined]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_configuration_of_the_manual_fits(block: Block) -> None:
    VALIDATOR.validate(tomllib.loads(block.text))


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], max_examples=60, deadline=None)
@given(files())
def test_what_can_be_read_fits(data: Mapping[str, Toml]) -> None:
    if not isinstance(reading(emit(data)), ConfigError):
        VALIDATOR.validate(tomllib.loads(emit(data)))


@pytest.mark.parametrize(
    "text",
    [
        "[serve]",
        "[[server]]",
        "server = 5",
        "[server]\nport = 1080",
        "[server]\nworkers = -1",
        "[server]\nworkers = '2'",
        "[server]\nlisten = []",
        "[server]\nlisten = [{ adress = '127.0.0.1:1080' }]",
        "[server]\nlisten = [{ names_only = 'warn' }]",
        "[server]\nident = 'maybe'",
        "[server]\ngssapi = 'some'",
        "[timeouts]\ndial = 'soon'",
        "[timeouts]\ndial = 0",
        "[timeouts]\ndial = true",
        "[limits]\nhandshakes = 0",
        "[limits]\nhandshakes = 'of'",
        "[hops]\nparis = 5",
        "[hops]\nparis = ['socks5://10.0.0.1']",
        "[hops]\nparis = { protocol = 'socks6', address = '10.0.0.1' }",
        "[hops]\nparis = { url = 'socks5://10.0.0.1', tor = 'yes' }",
        "[groups]\nexits = 'paris'",
        "[groups]\nexits = { hops = ['paris'], pick = 'fast' }",
        "[groups]\nexits = { hops = ['paris'], weights = { paris = 0 } }",
        "[groups]\nexits = { pick = 'failover' }",
        "[chains]\ndefault = 'paris'",
        "[chains]\ndefault = { hops = [5] }",
        "[chains]\ndefault = { hops = ['paris'], warm = -1 }",
        "[[rules]]\nport = 25\ndeny = true",
        "[[rules]]\ndeny = false",
        "[[rules]]\ncommands = ['associate']\ndeny = true",
        "[rules]\ndeny = true",
        "[[users]]\npassword_env = 'CAROL'",
        "[[users]]\nname = 5",
    ],
)
def test_a_mistake_of_form_does_not_fit(text: str) -> None:
    assert isinstance(reading(text), ConfigError)
    assert not fits(text)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_is_there(name: str) -> None:
    """And nothing that is not written in TOML, as null is."""
    model = SECTIONS[name].model
    table = SCHEMA["$defs"][model.__name__]
    table = table.get("anyOf", [table])[-1]
    assert list(table["properties"]) == [field.alias or key for key, field in model.model_fields.items()]
    assert "null" not in str(table["properties"])
    assert {} not in table["properties"].values(), "a key whose type is not known"


def test_defaults_are_written_as_in_a_file() -> None:
    server = SCHEMA["$defs"]["ServerTable"]["properties"]
    assert server["listen"]["default"] == [{"address": "127.0.0.1:1080"}]
    assert server["keepalive"]["default"] == 60
    assert server["ident"]["default"] == "off"
    assert "default" not in server["gssapi"]


def test_keys_can_be_described() -> None:
    model = SECTIONS["server"].model
    described = json_schema({(model, "workers"): "how many"})["$defs"]["ServerTable"]["properties"]
    assert described["workers"]["description"] == "how many"
