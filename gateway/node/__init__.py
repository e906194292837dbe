"""Storage nodes: the server that is one, in `server`."""
