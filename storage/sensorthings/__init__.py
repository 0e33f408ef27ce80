"""SensorThings entities in SQL: a parsed query becomes statements, and drafts become rows.

Reading: `reader` is the way in. What may be seen is `schema`; filters are `filter`, `operand`,
`functions` and `geometry`; a page is `select`, `page`, `keyset` and, for observations, `walk`;
`compiled` keeps statements. Writing, of what is kept by hand alone: `writing`, `kept_observations`,
`placing` and `removal`, under the rules of `ownership`. Parsing a query or a body and writing
entities as JSON is `standards_mapping.sensorthings`.
"""
