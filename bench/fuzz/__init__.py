"""Messages nobody would send, by the million: only defined refusals may come of them.

`corpus` holds genuine messages to start from, `mutation` bends them, `targets` feeds them to the
code that must withstand them, `campaign` does it over and over and measures. Everything is drawn
from a seed and a message's number, so that any finding can be made again.
"""
