"""The way out: one dial for every chain, from no hops at all to as many as you like.

It is written on anyio, so that the server (trio) and the client library (trio or asyncio) run the very same code.
"""
