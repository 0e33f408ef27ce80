"""Pure mappings between what is stored and the open standards it is published in.

Units, the registry of observed properties, the canonical observation, and its faces in
SenML and OGC SensorThings. No socket, database or clock.
"""
