"""The command line: `rayreel train` and so on, or `python jobs/train.py` in a Ray job.

Modules of this package define options and help and import nothing heavy; `steps` holds the work of the commands.
"""
