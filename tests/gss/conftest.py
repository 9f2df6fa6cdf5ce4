"""What the tests of a mechanism need: a realm of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.kerberos import Realm, common_realm


@pytest.fixture(scope="session")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with common_realm(tmp_path_factory.mktemp("realm")) as made:
        yield made
