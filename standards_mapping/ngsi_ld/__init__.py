"""What is stored as entities of NGSI-LD (ETSI GS CIM 009), after the Smart Data Models. Pure.

Entities: `rules` makes a model's value of a result, `models` says which model that is and how its
entities are named, `entity` and `devices` put entities together, `contexts` and `vocabulary` hold
the terms, `representation` and `forms` write them. Requests: `parameters` reads what is asked;
`selection`, `query_language` (with `conditions`, `pattern` and `times`), `geo_query` and
`temporal_query` answer it over `expanded` entities; `aggregates` sums up. `source` is what a store
of entities must be able to; ours is `storage.ngsi_ld`, and HTTP is `api.ngsi_ld`.
"""
