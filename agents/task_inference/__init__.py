"""Task inference: which of several recurring tasks it is, from transitions alone."""
