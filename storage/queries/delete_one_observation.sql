DELETE FROM observation WHERE datastream_id = %(datastream_id)s AND time = %(time)s
