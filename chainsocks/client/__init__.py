"""The client library: connections and datagrams through a chain, under trio and under asyncio."""
