SELECT count(*), min(time)
  FROM observation
 WHERE datastream_id = ANY (%(datastream_ids)s)
   AND time < %(floor)s
