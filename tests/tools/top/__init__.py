"""Tests of chainsocks.tools.top."""
