"""What happens to readings between sensor and spool: checks, aggregation, privacy.

Everything here is decided by a sensor's settings before anything is signed, so that what leaves
the gateway is all that anybody will ever see.
"""
