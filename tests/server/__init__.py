"""The tests of the accepting side, on real loopback sockets: limits, trouble, drain, signals."""
