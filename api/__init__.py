"""HTTP at the centre: pages for people, open standards for programs, files, and the live stream.

`app` puts the service together, `service` runs it. `principal` says who asks, `session` and
`sign_in` for people; `reads` lends what is read from, `errors` says what those are told who get
nothing. What wraps every answer is in `layers/`. Pages are in `pages/`, those that change something
in `administration/`. Each standard has a room: `sensorthings/`, `ngsi_ld/`, `open_data/` (SOSA,
DCAT, files); `openapi/` describes them. `publishing/` is a process of its own, which tells readers
what is new by MQTT. What a standard says is not here but in `standards_mapping`, SQL is in
`storage`.
"""
