"""The compiled engine: what an agent does at every step, as machine code."""
