-- What the valid results of a datastream come to in each period. {bucket}: its number or its start; {columns}: see
-- storage/ngsi_ld/aggregate.py. States count as 1 or 0.
SELECT bucket, {columns}
FROM (
    SELECT {bucket} AS bucket, coalesce(o.value, CASE WHEN jsonb_typeof(extra.result) = 'boolean'
                                                 THEN (extra.result::text = 'true')::int END) AS value,
           extra.result
    FROM observation AS o
    LEFT JOIN observation_extra AS extra ON extra.datastream_id = o.datastream_id AND extra.time = o.time
    WHERE o.datastream_id = %(id)s AND {window} AND coalesce(extra.quality, 0) & 1 = 0) AS one
WHERE {allowed}
GROUP BY bucket
ORDER BY bucket
