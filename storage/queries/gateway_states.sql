-- How each gateway that ever enrolled fares: last word, waiting readings, and what of the expected arrived in the last 24 whole
-- hours. A stream younger than that is judged from its first hour on, and a burst never makes up for a silent hour.
-- Of means one is expected for every interval that they are means over, however often they come.
WITH stream AS MATERIALIZED (
    SELECT
        thing.gateway_id,
        datastream.id,
        3600.0 / greatest(datastream.period_seconds, datastream.averaging_seconds) AS per_hour,
        greatest(first_hour.bucket, date_trunc('hour', now()) - INTERVAL '24 hours') AS since
    FROM datastream
    JOIN thing ON thing.id = datastream.thing_id
    CROSS JOIN LATERAL (
        SELECT rollup_1h.bucket
        FROM rollup_1h
        WHERE rollup_1h.datastream_id = datastream.id
        ORDER BY rollup_1h.bucket
        LIMIT 1
    ) AS first_hour
    WHERE datastream.period_seconds > 0
      AND right(thing.urn, 7) <> ':health'
),
hours AS (  -- in one pass over the hours of a day: a look-up a stream would come by every page of them
    SELECT stream.id, sum(least(rollup_1h.n, greatest(1, ceil(stream.per_hour)))) AS received
    FROM rollup_1h
    JOIN stream ON stream.id = rollup_1h.datastream_id
    WHERE rollup_1h.bucket >= date_trunc('hour', now()) - INTERVAL '24 hours'
      AND rollup_1h.bucket < date_trunc('hour', now())
      AND rollup_1h.bucket >= stream.since
    GROUP BY stream.id
),
judged AS (
    SELECT
        stream.gateway_id,
        extract(epoch FROM date_trunc('hour', now()) - stream.since) / 3600 * stream.per_hour AS expected,
        COALESCE(hours.received, 0) AS received
    FROM stream
    LEFT JOIN hours ON hours.id = stream.id
    WHERE stream.since < date_trunc('hour', now())
),
completeness AS (
    SELECT
        gateway_id,
        (sum(least(received, expected)) / sum(expected))::float8 AS share,
        count(*) FILTER (WHERE received = 0) AS silent_streams,
        count(*) AS streams
    FROM judged
    WHERE expected > 0
    GROUP BY gateway_id
),
missing AS (
    SELECT gateway_id, sum(greatest(final_seq, highest_seq) - received_messages) AS messages
    FROM epoch
    WHERE received_at > now() - INTERVAL '24 hours'
    GROUP BY gateway_id
),
spool AS (
    SELECT DISTINCT ON (thing.gateway_id) thing.gateway_id, latest.value, latest.time
    FROM latest
    JOIN datastream ON datastream.id = latest.datastream_id
    JOIN thing ON thing.id = datastream.thing_id
    JOIN observed_property ON observed_property.id = datastream.observed_property_id
    WHERE observed_property.key = 'spool_readings'
    ORDER BY thing.gateway_id, latest.time DESC
)
SELECT
    gateway.id,
    gateway.device,
    gateway.label,
    gateway.status,
    council.tenant,
    council.name                             AS council,
    gateway_seen.last_message_at,
    spool.value                              AS spool_readings,
    spool.time                               AS spool_time,
    completeness.share                       AS completeness,
    COALESCE(completeness.streams, 0)        AS streams,
    COALESCE(completeness.silent_streams, 0) AS silent_streams,
    COALESCE(missing.messages, 0)::bigint    AS missing_messages,
    COALESCE(gateway.certificate_not_after, signer.valid_until) AS certificate_until
FROM gateway
JOIN council ON council.id = gateway.council_id
LEFT JOIN gateway_seen ON gateway_seen.gateway_id = gateway.id
LEFT JOIN spool ON spool.gateway_id = gateway.id
LEFT JOIN completeness ON completeness.gateway_id = gateway.id
LEFT JOIN missing ON missing.gateway_id = gateway.id
LEFT JOIN LATERAL (
    SELECT max(signing_key.valid_until) AS valid_until
    FROM signing_key
    WHERE signing_key.gateway_id = gateway.id
) AS signer ON true
WHERE gateway.status <> 'invited'
ORDER BY gateway_seen.last_message_at NULLS FIRST, council.name, gateway.device
