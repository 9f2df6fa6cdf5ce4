from chainsocks.control.fleet import Fleet
from tests.control.fleets import FakeFleet


def test_the_fake_is_a_fleet() -> None:
    """The type checker looks at this."""
    fleet: Fleet = FakeFleet()
    assert fleet
