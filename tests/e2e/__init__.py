"""End to end: the real program on real loopback sockets, among foreign clients and servers."""
