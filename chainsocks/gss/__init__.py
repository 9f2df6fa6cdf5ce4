"""GSS-API: security contexts, and streams that they protect, under any async library. No deadline is set here."""
