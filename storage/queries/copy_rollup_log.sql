COPY rollup_log (bucket, datastream_id) FROM STDIN (FORMAT binary)
