SELECT datastream_id, (extract(epoch FROM time) * 1000000)::bigint, result #>> '{}'
  FROM observation_extra
 WHERE datastream_id = ANY (%(datastream_ids)s)
   AND time >= %(start)s
   AND time < %(end)s
   AND jsonb_typeof(result) <> 'null'
