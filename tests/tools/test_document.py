"""What `check --json` prints."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from chainsocks.config.limits import Limits
from chainsocks.config.load import parse_config
from chainsocks.errors import Problem
from chainsocks.tools.document import as_document

FILE = """
[timeouts]
idle = "off"
[hops]
paris = "socks5://bob:SECRET@10.0.0.1"
lima = "socks4a://10.0.0.2"
[groups]
exits = ["paris", "lima"]
[chains]
default = { hops = ["lima", "exits"], dial = 5 }
[limits]
new_per_second = 2.5
bandwidth = 1000
trusted = ["10.0.0.0/8", "unix:/run/s"]
[[rules]]
to = "*.lan"
chain = "direct"
"""


def test_a_good_file() -> None:
    text = as_document(Path("a.toml"), parse_config(FILE), warnings=["x"])
    document = json.loads(text)
    assert (document["file"], document["valid"]) == (str(Path("a.toml").absolute()), True)
    assert (document["problems"], document["warnings"]) == ([], ["x"])
    made = document["configuration"]
    assert (made["listen"], made["default"], len(made["rules"])) == (["127.0.0.1:1080"], "default", 1)
    assert (made["timeouts"]["idle"], made["timeouts"]["hop"]) == (None, 10)
    default = made["chains"]["default"]
    assert (default["dial"], default["send_proxy"]) == (5, False)
    assert [member["name"] for member in default["hops"]] == ["lima", "exits"]
    assert default["hops"][1]["hops"][0] == {"name": "paris", "protocol": "socks5", "address": "10.0.0.1:1080"}
    limits = {name: value for name, value in made["limits"].items() if value is not None}
    assert limits == {"new_per_second": 2.5, "bandwidth": 1000, "trusted": ["10.0.0.0/8", "unix:/run/s"]}
    assert made["limits"].keys() == {field.name for field in fields(Limits)}
    assert "SECRET" not in text


def test_a_file_with_problems() -> None:
    document = json.loads(as_document(Path("a.toml"), problems=[Problem("rules[1].to", "what")]))
    assert document["problems"] == [{"place": "rules[1].to", "message": "what"}]
    assert (document["valid"], document["configuration"]) == (False, None)
