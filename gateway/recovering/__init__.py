"""A data folder made anew from what a storage node has, the space key, and nothing else."""
