"""What wraps every answer: limits, conditions, compression, other origins, names and counts.

Each is ASGI middleware; `api.app` says in which order. What is answered is decided further in.
"""
