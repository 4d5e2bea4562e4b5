"""The doors: commands to train, evaluate, watch and play."""
