"""Looking into a network: interference between phases, and plasticity."""
