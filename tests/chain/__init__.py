"""Tests of chainsocks.chain."""
