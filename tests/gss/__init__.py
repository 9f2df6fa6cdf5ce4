"""Tests of `chainsocks.gss`."""
