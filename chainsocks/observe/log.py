"""Logging for the command line: plain lines on standard error."""

from __future__ import annotations

import logging

__all__ = ["start_logging"]


def start_logging(level: int) -> None:
    """Send the log of chainsocks, from `level` up, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("chainsocks")
    logger.handlers = [handler]
    logger.setLevel(level)
