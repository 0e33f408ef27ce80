"""What gateway and centre must agree on, and nothing else.

Here lives the message envelope (docs/reference/envelope.md) with its keys, topics and refusals,
and the two payloads it carries: SenML packs of readings and descriptions of gateways. Everything
is pure: no socket, file or clock, and randomness only as an argument's default.
"""
