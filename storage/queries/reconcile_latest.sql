-- LATERAL with LIMIT 1 is one index look-up a datastream; DISTINCT ON would read every observation.
INSERT INTO latest AS kept (datastream_id, time, value, result, quality)
SELECT datastream.id, newest.time, newest.value, extra.result, coalesce(extra.quality, 0)
  FROM datastream
 CROSS JOIN LATERAL (
       SELECT time, value
         FROM observation
        WHERE observation.datastream_id = datastream.id
        ORDER BY time DESC
        LIMIT 1) AS newest
  LEFT JOIN observation_extra AS extra
    ON extra.datastream_id = datastream.id AND extra.time = newest.time
    ON CONFLICT (datastream_id) DO UPDATE
   SET time = excluded.time, value = excluded.value, result = excluded.result,
       quality = excluded.quality, updated_at = excluded.updated_at
 WHERE excluded.time > kept.time
