"""Storage nodes: the server that is one, in `server`, and the gateway's side of one, in `client`."""
