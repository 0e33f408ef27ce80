"""OGC SensorThings API 1.1 (OGC 18-088) as pure values: model, addresses, queries, JSON, bodies.

What there is: `model`, and `conformance` for what is claimed. What is asked: `path`, `options`,
`expression` (of `tokens`), `geometry`, `skiptoken`. What is answered: `entity`, `observation_text`,
`document`, and as other forms `data_array_page`, `table` and `features`. What clients write:
`creation` with `drafted_values`, `places` and `json_body`, `patch`, `data_array_body`, `batch`.
Why a request is not answered: `errors`. Answering one over HTTP lives in `api.sensorthings`, and
SQL in `storage.sensorthings`.
"""
