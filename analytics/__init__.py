"""What is worked out from observations that are already stored.

`runner` is the process. What it tells the database is in `storage`.
"""
