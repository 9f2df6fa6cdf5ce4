"""Which way a request goes: pure decisions, made of the request, of who asks, and of what is known by then."""
