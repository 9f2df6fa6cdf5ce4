"""The life of one accepted connection. Open `session.py` first: it is the story of the program."""
