"""From the broker into the database: admit, store, and only then acknowledge.

`admission` decides, and is pure: `state`, `snapshot`, `readings` and `descriptions` are its parts.
`intake` listens to brokers, `registry` follows who may speak, `store` writes, `acknowledgements`
answers; `service` lets them work together.
"""
