"""HTTP clients of others through a chain, each with an extra of its name."""
