"""Connections to brokers: messages in, acknowledgements out.

`intake` speaks MQTT, `nats_intake` reads a NATS cluster; both fill the one `inbox`.
"""
