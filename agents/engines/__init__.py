"""The compiled engine: it serves an agent with machine code, made from ``agents.kernels``."""
