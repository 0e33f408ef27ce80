-- What results of a span are where they are no numbers, when their intervals began where they are of their own, and
-- what their newest corrections say.
SELECT datastream_id,
       (extract(epoch FROM time) * 1000000)::bigint,
       CASE jsonb_typeof(result) WHEN 'null' THEN NULL ELSE result #>> '{}' END,
       (extract(epoch FROM started) * 1000000)::bigint,
       CASE WHEN observation_extra.quality & 64 <> 0 THEN observation_extra.parameters #> '{corrected,result}' END
  FROM observation_extra
 WHERE datastream_id = ANY (%(datastream_ids)s)
   AND time >= %(start)s
   AND time < %(end)s
   AND (started IS NOT NULL OR jsonb_typeof(result) <> 'null' OR quality & 64 <> 0)
