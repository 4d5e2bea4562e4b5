"""Pictures and films of the games."""
