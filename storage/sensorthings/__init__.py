"""SensorThings entities in SQL: a parsed query becomes statements, and drafts become rows.

Reading: `reader` is the way in. What may be seen is `schema`; filters are `filter`, `operand`,
`functions` and `geometry`; a page is `select`, `page`, `keyset` and, for observations, `walk`;
`compiled` keeps statements.

Writing, of what is kept by hand alone and under the rules of `ownership`: `writing` is the way in.
Columns are `rows`, links `linking`, and where Things are `placing`; new observations are
`kept_observations`, changes of them and corrections of signed ones `corrections`; deleting is
`removal`. Parsing a query or a body and writing entities as JSON is
`standards_mapping.sensorthings`.
"""
