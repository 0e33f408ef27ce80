"""Several processes of ingest, each the owner of its gateways.

`ownership` says who owns what, `shares` which database, `claim` keeps two from owning the same.
`supervisor` starts them and starts them again, as `supervision` says.
"""
