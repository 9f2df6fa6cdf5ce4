"""Limits: what one client may have of the server, beside the fair shares of `chainsocks.shares`."""
