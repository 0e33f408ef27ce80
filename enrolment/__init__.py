"""The certificate service: the only holder of certificate authority keys.

`policy` decides what every certificate says and is pure; `authority` holds the keys,
issues and writes files; `files` is how key and certificate files are read and written.
Nothing here talks to the broker or the database.
"""
