"""Agents on disk: files that hold data and no code."""
