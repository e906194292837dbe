"""A storage node and indexer: keeps blobs for spaces, vouches for them, gives them only to whom the space lets.

Everything that may be done is asked for in a signed invocation; see `registry.ucan`.
"""
