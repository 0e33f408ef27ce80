-- Hours that were touched but not recomputed yet. A mean that ends on the hour is of the hour before, so that one may
-- have been touched as well. Hours whose observations were dropped are left as they are, as the worker leaves them.
SELECT DISTINCT touched.bucket, stream.id
  FROM unnest(%(ids)s::int[], %(averaged)s::bool[], %(floors)s::timestamptz[]) AS stream (id, averaged, floor)
  JOIN rollup_log ON rollup_log.datastream_id = stream.id
 CROSS JOIN LATERAL (VALUES (rollup_log.bucket),
                            (CASE WHEN stream.averaged THEN rollup_log.bucket - INTERVAL '1 hour' END)
                    ) AS touched (bucket)
 WHERE touched.bucket >= %(start)s
   AND touched.bucket < %(end)s
   AND touched.bucket >= coalesce(stream.floor, '-infinity')
 ORDER BY touched.bucket, stream.id
