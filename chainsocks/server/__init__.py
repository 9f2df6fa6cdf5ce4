"""Listeners, and the nursery that all sessions live in."""
