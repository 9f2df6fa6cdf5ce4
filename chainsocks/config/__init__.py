"""What users type, as frozen values: TOML, hop URLs, passwords. Every default and every deadline stands here once."""
