-- Hours of one datastream that were touched but not recomputed yet. A mean that ends on the hour is of the hour
-- before, so that one may have been touched as well.
SELECT DISTINCT hour
FROM (
    SELECT bucket AS hour FROM rollup_log WHERE datastream_id = %(datastream_id)s
    UNION ALL
    SELECT bucket - INTERVAL '1 hour' FROM rollup_log
    WHERE datastream_id = %(datastream_id)s AND %(averaged)s
) AS touched
WHERE hour >= %(start)s AND hour < %(end)s
ORDER BY hour
