"""Every check between a delivered message and a stored observation. Pure.

`decision` makes it, batch by batch; the others are what it works on, and what it leaves behind.
"""
