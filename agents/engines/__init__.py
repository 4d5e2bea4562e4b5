"""The compiled engine: machine code in place of PyTorch, made from ``agents.kernels``."""
