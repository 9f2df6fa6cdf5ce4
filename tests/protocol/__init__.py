"""The tests of the wire: read them as the specification of `chainsocks.protocol`."""
