"""chainsocks."""
