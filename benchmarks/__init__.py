"""What chainsocks is measured against, and what its parts cost. See README.md."""
