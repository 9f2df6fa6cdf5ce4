"""`chainsocks top`: the running server, live on a terminal."""
