"""The steps from any released schema of the node to the newest one, run when its folder is opened."""
