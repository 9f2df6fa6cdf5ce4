"""Tests of reading proxychains.conf, and of saying the same as a configuration."""
