"""What ``import chainsocks`` offers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chainsocks
import chainsocks.library as library


def test_the_front_door_has_all_names_of_the_library() -> None:
    assert chainsocks.__all__ == library.__all__
    for name in library.__all__:
        assert getattr(chainsocks, name) is getattr(library, name)
        assert name in dir(chainsocks)


def test_all_of_it_can_be_imported_at_once() -> None:
    names: dict[str, object] = {}
    exec("from chainsocks import *", names)
    assert {*library.__all__} < {*names}


@pytest.mark.parametrize("name", ["chain", "nonsense", "import_names", "Server"])
def test_other_names_are_not_there(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'chainsocks' has no attribute '{name}_'"):
        getattr(chainsocks, f"{name}_")


def test_type_checkers_see_the_library() -> None:
    stub = Path(chainsocks.__file__ or "").with_suffix(".pyi")
    imported = {node.module for node in ast.parse(stub.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)}
    assert imported == {"chainsocks.library"}
