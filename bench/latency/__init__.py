"""What a far-away storage node costs: writes that are answered when it has them, with a delay on the way there."""
