"""The heads-up display."""
