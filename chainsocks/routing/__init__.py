"""Routing: which chain a request takes, and which hops of it. Pure decisions, without a clock and without a network."""
