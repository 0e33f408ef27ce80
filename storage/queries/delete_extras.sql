DELETE FROM observation_extra
 WHERE datastream_id = ANY (%(datastream_ids)s)
   AND time >= %(start)s
   AND time < %(end)s
