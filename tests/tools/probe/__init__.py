"""Tests of `chainsocks probe`."""
