"""Faults on purpose: `make faults`, or `python -m tests.faults [--quick] [--only NAME,...]`.

Processes are killed, disks refuse, files are damaged, configurations and run directories are made
up; a table says what was tried, and what was lost. None of it is a test of chance: the seed is said
and can be given again.
"""
