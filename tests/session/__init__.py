"""Tests of chainsocks.session."""
