COPY observation_extra (datastream_id, time, quality, result) FROM STDIN (FORMAT binary)
