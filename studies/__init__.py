"""Studies: many lives from one file, on this machine or on many, and what came of them.

Here agents and evaluation meet: ``life`` lives one life, everything else lives many of them.
"""
