"""Two pumps between a client and its upstream: half-close carried and capped, silence bounded, bytes counted."""
