-- The months, UTC, that chunks of `observation` lie in.
SELECT DISTINCT date_trunc('month', month, 'UTC')
  FROM timescaledb_information.chunks
 CROSS JOIN LATERAL generate_series(
       date_trunc('month', range_start, 'UTC'), range_end - INTERVAL '1 microsecond', INTERVAL '1 month'
       ) AS month
 WHERE hypertable_name = 'observation'
 ORDER BY 1
