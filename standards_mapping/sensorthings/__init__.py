"""OGC SensorThings API 1.1 (OGC 18-088) as pure values: model, addresses, queries, JSON.

`model` says which entities there are, `path` reads resource paths, `expression` and `options`
read query options, `entity` writes JSON, `conformance` what is claimed. Answering a request over
HTTP lives in `api.sensorthings`, and SQL in `storage.sensorthings`.
"""
