"""From the data folder to the storage node: what has to be there, how it is cut, what brings it there."""
