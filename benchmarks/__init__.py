"""Benchmarks: chainsocks beside other servers, and the cost of its parts. See README.md."""
