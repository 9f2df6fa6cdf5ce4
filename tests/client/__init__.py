"""Tests of chainsocks.client."""
