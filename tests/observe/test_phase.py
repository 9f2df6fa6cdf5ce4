from chainsocks.observe.phase import Phase


def test_the_phases_are_a_promise() -> None:
    assert [*map(str, Phase)] == ["request", "route", "dial", "reply", "relay"]
