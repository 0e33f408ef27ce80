"""What every Kerbstone process needs to start and to stop.

Settings, logs, metrics, signals, TLS and back-off live here. Nothing here knows what a
reading is, and nothing here imports another room.
"""
