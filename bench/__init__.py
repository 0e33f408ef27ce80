"""Measurements: what the system does, beside what this machine could do at best.

Every result is taken in one run together with its raw limit, and judged by the ratio: wall times
of different machines, or of one on different days, mean little.
"""
