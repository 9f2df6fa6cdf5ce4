"""What the box holds beside the server: programs for the people who run it."""
