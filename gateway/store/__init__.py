"""The local store: segments, block index, group commit, verified reads.  Everything that touches the data folder."""
