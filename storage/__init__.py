"""Every statement sent to PostgreSQL or TimescaleDB, as typed functions.

`database` connects, `migration` and `edition` make the schema, `rollups`, `partitions` and
`retention` keep it, `embedded` starts a server of one's own. The other modules each hold the
statements of one subject. Only this package imports psycopg; none of it knows a process.
"""
