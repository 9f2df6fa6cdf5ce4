"""The tests of the relay: one suite for every pump and every kind of stream (`ways.py`)."""
