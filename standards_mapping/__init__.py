"""Pure mappings between what is stored and the open standards it is published in.

What all of them start from: `registry` (councils, Things, Sensors, Datastreams), `observation`,
`properties` (what can be observed), `units` (and conversion), `grid_reference`; `observe` makes
observations of SenML records. The standards: `sensorthings/`, `ngsi_ld/`, `sosa`, `dcat` and
`project_open_data` over `datasets`, and `csvw`, `geojson` and `geoparquet` over `open_columns`;
`linked_data` is what the JSON-LD among them shares, `csv_text` what all CSV has in common,
`open_licence` under which terms all of it may be used. `air_quality_index` is the UK's index. No
socket, database or clock, and no file but tables of our own in `data/`.
"""
