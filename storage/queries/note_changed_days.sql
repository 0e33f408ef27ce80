INSERT INTO changed_day AS kept (council_id, day)
SELECT DISTINCT council_id, (bucket AT TIME ZONE 'UTC')::date
  FROM unnest(%(buckets)s::timestamptz[], %(datastream_ids)s::int[]) AS touched (bucket, datastream_id)
  JOIN datastream ON datastream.id = datastream_id
 ORDER BY 1, 2
    ON CONFLICT (council_id, day) DO UPDATE SET version = kept.version + 1, changed_at = excluded.changed_at
