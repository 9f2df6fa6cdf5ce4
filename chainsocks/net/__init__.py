"""The operating system's network, seen by trio: lean streams, TCP connects, listeners, name lookups.

It does not know SOCKS, and sets no deadlines: callers open the cancel scopes.
"""
