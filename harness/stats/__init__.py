"""Statistics: numbers in, estimates and comparisons out; no records of a run, no I/O.

scipy's special functions do what they can; here stands what they lack: a joint bootstrap shared by
many ratios, Tango's interval, clustered rates, and the rules for when not to print a number.
"""
