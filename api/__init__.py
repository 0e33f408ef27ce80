"""HTTP at the centre: pages for people, open standards for programs, files, and the live stream.

What wraps every request is beside this file: `app` puts the service together, `principal` says who
asks, `rate_limit` how often they may, `errors` what they are told; so do `conditional`, `cors`,
`compression`, `one_write` and `security`. `reads` lends what they read from. Pages for people are
`overview_page`, `site_page`, `status_page`, `about_pages`, and `administration/`. Each standard has
a room: `sensorthings/`, `ngsi_ld/`, `open_data/` (SOSA, DCAT, files); `openapi/` describes them.
`publishing/` is a process of its own, which tells readers what is new by MQTT. What a standard says
is not here but in `standards_mapping`, SQL is in `storage`.
"""
