"""Publishing observations by MQTT as they come (OGC 18-088, clause 14): a process of its own.

`settings` is what it is told, `broker` how the readers' broker is described from that, `publisher`
what it does. Nothing is received by MQTT here: observations come in by gateways or by HTTP.
"""
