-- Every numeric or other datastream of the sites that the reader may see, with the newest value if there is one.
-- What a gateway reports about itself (a Thing whose URN ends in ":health") is not a site.
SELECT
    datastream.id           AS datastream_id,
    datastream.name         AS datastream_name,
    datastream.access = 'open' AS is_open,
    datastream.unit         AS unit,
    datastream.period_seconds AS period_seconds,
    datastream.averaging_seconds AS averaging_seconds,
    datastream.properties   AS properties,
    observed_property.key   AS property_key,
    observed_property.name  AS property_name,
    thing.id                AS thing_id,
    latest.time             AS time,
    latest.value            AS value,
    latest.result           AS result,
    COALESCE(latest.quality, 0) AS quality,
    latest.updated_at       AS updated_at
FROM readable_datastream AS datastream
JOIN thing ON thing.id = datastream.thing_id
JOIN council ON council.id = thing.council_id
JOIN observed_property ON observed_property.id = datastream.observed_property_id
LEFT JOIN latest ON latest.datastream_id = datastream.id
WHERE right(thing.urn, 7) <> ':health'
  AND (%(tenant)s::text IS NULL OR council.tenant = %(tenant)s)
  AND (%(thing_id)s::int IS NULL OR thing.id = %(thing_id)s)
ORDER BY thing.id, observed_property.name, datastream.id
