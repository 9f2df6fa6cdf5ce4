"""`chainsocks bench`: what a relay can carry, measured beside the direct connection."""
