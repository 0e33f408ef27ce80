DELETE FROM observation_extra WHERE datastream_id = %(datastream_id)s AND time = %(time)s
