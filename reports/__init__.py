"""Reports about runs: tables, curves, matrices, and their provenance."""
