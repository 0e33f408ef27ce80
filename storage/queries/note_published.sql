-- The join leaves out a datastream that was deleted meanwhile.
INSERT INTO published_observation AS kept (datastream_id, time)
SELECT datastream.id, %(time)s
  FROM datastream
 WHERE datastream.id = %(datastream_id)s
    ON CONFLICT (datastream_id) DO UPDATE
   SET time = excluded.time
 WHERE excluded.time > kept.time
