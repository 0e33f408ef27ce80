"""Every statement sent to PostgreSQL or TimescaleDB, as typed functions.

`database` connects, `migration` and `edition` make the schema, `rollups`, `partitions` and
`retention` keep it, `embedded` starts a server of one's own. `access` says who may see what, and
what is read for others goes through it: `overview` for pages, `published` and `open_data` for open
files, linked data and the catalogue, `sensorthings/` and `ngsi_ld/` for those APIs. `publication`
is how far readers have been told by MQTT, `api_keys` the keys of programs, `archive/` backups and
exports. The other modules each hold the statements of one subject. Only this package imports
psycopg; none of it knows a process.
"""
