"""proxychains.conf: reading it, and saying the same in the form of this program's configuration."""
