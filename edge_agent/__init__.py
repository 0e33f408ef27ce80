"""The gateway process: sensors -> spool -> sealer -> uplink.

A reading is kept on this machine until the centre proves that it has stored it. The centre's
side of that promise is not here; what both must agree on is `device_protocol`.
"""
