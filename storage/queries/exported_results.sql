-- What results of a span are where they are no numbers, and what their newest corrections say: as number, as text.
SELECT datastream_id,
       (extract(epoch FROM time) * 1000000)::bigint,
       CASE jsonb_typeof(result) WHEN 'null' THEN NULL ELSE result #>> '{}' END,
       CASE jsonb_typeof(said) WHEN 'number' THEN said::float8 END,
       CASE WHEN jsonb_typeof(said) IN ('string', 'boolean') THEN said #>> '{}' END
  FROM observation_extra
 CROSS JOIN LATERAL (SELECT CASE WHEN quality & 64 <> 0 THEN parameters #> '{corrected,result}' END) AS correction (said)
 WHERE datastream_id = ANY (%(datastream_ids)s)
   AND time >= %(start)s
   AND time < %(end)s
   AND (jsonb_typeof(result) <> 'null' OR quality & 64 <> 0)
