-- What results of a span are where they are no numbers, and when their intervals began where they are of their own.
SELECT datastream_id,
       (extract(epoch FROM time) * 1000000)::bigint,
       CASE jsonb_typeof(result) WHEN 'null' THEN NULL ELSE result #>> '{}' END,
       (extract(epoch FROM started) * 1000000)::bigint
  FROM observation_extra
 WHERE datastream_id = ANY (%(datastream_ids)s)
   AND time >= %(start)s
   AND time < %(end)s
   AND (started IS NOT NULL OR jsonb_typeof(result) <> 'null')
