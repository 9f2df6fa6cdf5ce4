"""A network of its own for one program, made by the kernel without root. Linux only, and the standard library only."""
