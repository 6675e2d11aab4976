"""The asyncio shells that drive the protocol over sockets."""
