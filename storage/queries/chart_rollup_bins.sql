-- One datastream's hours summed up by bins of whole hours, but for the hours that wait to be recomputed.
SELECT
    date_bin(%(width)s, bucket, %(origin)s) AS bin,
    sum(n)::bigint AS n,
    sum(sum) AS sum,
    sum(sum2) AS sum2,
    min(min) AS min,
    max(max) AS max
FROM rollup_1h
WHERE datastream_id = %(datastream_id)s
  AND bucket >= %(start)s
  AND bucket < %(end)s
  AND bucket <> ALL (%(pending)s::timestamptz[])
GROUP BY bin
ORDER BY bin
