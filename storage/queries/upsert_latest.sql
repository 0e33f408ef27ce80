-- The join leaves out a datastream that was deleted meanwhile.
INSERT INTO latest AS kept (datastream_id, time, value, result, quality)
SELECT datastream_id, newest.time, newest.value, newest.result, newest.quality
  FROM unnest(%(datastream_ids)s::int[], %(times)s::timestamptz[], %(values)s::float8[],
              %(results)s::jsonb[], %(qualities)s::smallint[])
       AS newest (datastream_id, time, value, result, quality)
  JOIN datastream ON datastream.id = datastream_id
    ON CONFLICT (datastream_id) DO UPDATE
   SET time = excluded.time, value = excluded.value, result = excluded.result,
       quality = excluded.quality, updated_at = excluded.updated_at
 WHERE excluded.time > kept.time
