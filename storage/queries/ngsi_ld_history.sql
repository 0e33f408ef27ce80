-- The first (or last) observations of each of these datastreams in a time, but those out of range.
SELECT stream.id, o.time, o.value, extra.result, coalesce(extra.quality, 0),
       CASE WHEN extra.quality & 64 <> 0 THEN extra.parameters #> '{{corrected,result}}' END
FROM unnest(%(ids)s::int[]) AS stream (id)
CROSS JOIN LATERAL (
    SELECT o.time, o.value
    FROM observation AS o
    WHERE o.datastream_id = stream.id AND {window}
      AND NOT EXISTS (SELECT FROM observation_extra AS invalid
                       WHERE invalid.datastream_id = stream.id AND invalid.time = o.time AND invalid.quality & 1 <> 0)
    ORDER BY o.time {order}
    LIMIT %(most)s) AS o
LEFT JOIN observation_extra AS extra ON extra.datastream_id = stream.id AND extra.time = o.time
