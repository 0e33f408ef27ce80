-- What a gateway reports about itself (a Thing whose URN ends in ":health"), with the newest value of each datastream.
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
FROM datastream
JOIN thing ON thing.id = datastream.thing_id
JOIN gateway ON gateway.id = thing.gateway_id
JOIN observed_property ON observed_property.id = datastream.observed_property_id
LEFT JOIN latest ON latest.datastream_id = datastream.id
WHERE gateway.device = %(device)s
  AND right(thing.urn, 7) = ':health'
ORDER BY observed_property.name, datastream.id
