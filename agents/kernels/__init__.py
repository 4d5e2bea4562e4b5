"""What an agent does at every step, written to be compiled: plain functions over arrays."""
