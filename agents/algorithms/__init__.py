"""Algorithms of Stable-Baselines3 that agents may learn by, one file each.

``algorithm.py`` says what a file tells of its algorithm, ``settings.py`` what all settings have in
common, and ``catalogue.py`` finds the files of this folder.
"""
