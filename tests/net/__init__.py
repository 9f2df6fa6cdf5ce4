"""The tests of the network itself, on real loopback sockets: read them as the specification of `chainsocks.net`."""
