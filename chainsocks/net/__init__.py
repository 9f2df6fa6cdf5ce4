"""The operating system's network, seen by trio: lean streams, TCP connects, listeners, name look-ups.

Nothing here knows SOCKS, and nothing here sets a deadline: whoever calls opens the cancel scope.
"""
