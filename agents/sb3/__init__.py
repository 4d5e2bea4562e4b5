"""Agents of Stable-Baselines3 that are trained, saved and resumed as those of this suite.

Which algorithms there are says :mod:`continual_arcade.agents.algorithms`.
"""
