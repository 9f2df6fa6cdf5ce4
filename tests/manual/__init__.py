"""What the README and the manual say, held against the program."""
