"""Where callers without trio meet code on trio: a thread that runs it, and what is served from there."""
