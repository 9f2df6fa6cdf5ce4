"""Logging for the command line: plain lines on standard error."""

from __future__ import annotations

import logging

__all__ = ["label_logging", "start_logging"]

_FORMAT = "%(asctime)s %(levelname)s {label}%(message)s"


def start_logging(level: int) -> None:
    """Send the log of chainsocks, from `level` up, to standard error."""
    handler = logging.StreamHandler()
    logger = logging.getLogger("chainsocks")
    logger.handlers = [handler]
    logger.setLevel(level)
    label_logging("")


def label_logging(label: str) -> None:
    """Begin every line with `label` from now on, as some processes that write one log do to be told apart."""
    for handler in logging.getLogger("chainsocks").handlers:
        handler.setFormatter(logging.Formatter(_FORMAT.format(label=label)))
