-- The days of which these datastreams' observations are about to be deleted: their exports are written anew.
INSERT INTO changed_day AS kept (council_id, day)
SELECT DISTINCT council_id, (observation.time AT TIME ZONE 'UTC')::date
  FROM observation
  JOIN datastream ON datastream.id = datastream_id
 WHERE datastream_id = ANY (%(datastream_ids)s)
 ORDER BY 1, 2
    ON CONFLICT (council_id, day) DO UPDATE SET version = kept.version + 1, changed_at = excluded.changed_at
