"""The SensorThings API's reads: a parsed query becomes SQL, rows come back ready to be written.

`reader` is the way in. What may be seen is `schema`; filters are `filter`, `operand` and
`functions`; a page is `select`, `page`, and, for observations, `walk`. Parsing a query and
writing entities as JSON is `standards_mapping.sensorthings`.
"""
