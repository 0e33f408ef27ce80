-- Staged rows come sorted by key and each key once, so the insert needs no sort of its own. Only
-- what is really inserted is logged for the rollups and gets its quality and non-numeric result.
-- What is not is set aside, to be compared with what is stored; mostly that is nothing, and the
-- comparison of the counts, made once, saves looking for it.
WITH inserted AS (
    INSERT INTO observation (datastream_id, time, value)
    SELECT datastream_id, time, value FROM staged_observation
        ON CONFLICT DO NOTHING
    RETURNING datastream_id, time
), logged AS (
    INSERT INTO rollup_log (bucket, datastream_id)
    SELECT DISTINCT date_bin('1 hour', time, '2000-01-01 00:00+00'), datastream_id FROM inserted
), extra AS (
    INSERT INTO observation_extra (datastream_id, time, quality, result)
    SELECT datastream_id, time, quality, result
      FROM unnest(%(datastream_ids)s::int[], %(times)s::timestamptz[], %(qualities)s::smallint[],
                  %(results)s::jsonb[])
           AS reported (datastream_id, time, quality, result)
      JOIN inserted USING (datastream_id, time)
        ON CONFLICT DO NOTHING
), unpublished AS (
    INSERT INTO unpublished_batch (observations)
    SELECT string_agg(int4send(datastream_id) || timestamptz_send(time), '' ORDER BY datastream_id, time)
      FROM inserted
     WHERE %(followed)s
    HAVING count(*) > 0
), repeated AS (
    INSERT INTO repeated_observation (datastream_id, time, value)
    SELECT datastream_id, time, staged.value
      FROM staged_observation AS staged
      LEFT JOIN inserted USING (datastream_id, time)
     WHERE inserted.time IS NULL
       AND (SELECT count(*) FROM inserted) < (SELECT count(*) FROM staged_observation)
)
SELECT count(*) FROM inserted
