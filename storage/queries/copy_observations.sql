COPY observation (datastream_id, time, value) FROM STDIN (FORMAT binary)
