"""Tests of chainsocks.routing."""
