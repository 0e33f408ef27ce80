"""Open data over HTTP: the catalogue, linked data, and files to download.

`catalogue` serves DCAT and data.json, `sosa` linked data, `files` CSV, GeoJSON and Parquet, `page`
what people see of it; `parameters` and `answers` are what these share. What is written is said in
`standards_mapping`, and read by `storage.open_data` and `storage.published`.
"""
