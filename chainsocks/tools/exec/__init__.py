"""`chainsocks exec`: the chain of a program, outside the network namespace that the program is in."""
