"""Fills a page about runs: tables, curves, matrices, and where all of it comes from."""
