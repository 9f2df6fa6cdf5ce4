"""The control socket: what can be asked of a running server, and how."""
