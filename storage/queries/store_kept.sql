-- New observations of one datastream with all that follows from them: their hours for the rollups, what they have
-- beside a value, the latest value and word of it. They are audited here where none of them was there already.
WITH told AS (
    SELECT *
      FROM unnest(%(times)s::timestamptz[], %(values)s::float8[], %(qualities)s::smallint[], %(results)s::jsonb[],
                  %(started)s::timestamptz[], %(parameters)s::jsonb[])
           AS told (time, value, quality, result, started, parameters)
), inserted AS (
    INSERT INTO observation (datastream_id, time, value)
    SELECT %(datastream_id)s, time, value FROM told
        ON CONFLICT DO NOTHING
    RETURNING time
), logged AS (
    INSERT INTO rollup_log (bucket, datastream_id)
    SELECT DISTINCT date_bin('1 hour', time, '2000-01-01 00:00+00'), %(datastream_id)s::int FROM inserted
), extra AS (
    INSERT INTO observation_extra (datastream_id, time, quality, result, started, parameters)
    SELECT %(datastream_id)s, time, quality, result, started, parameters
      FROM told JOIN inserted USING (time)
     WHERE value IS NULL OR quality <> 0 OR num_nonnulls(started, parameters) > 0
        ON CONFLICT DO NOTHING
), newest AS (
    INSERT INTO latest AS kept (datastream_id, time, value, result, quality)
    SELECT %(datastream_id)s, time, value, result, quality
      FROM told JOIN inserted USING (time)
     ORDER BY time DESC
     LIMIT 1
        ON CONFLICT (datastream_id) DO UPDATE
       SET time = excluded.time, value = excluded.value, result = excluded.result,
           quality = excluded.quality, updated_at = excluded.updated_at
     WHERE excluded.time > kept.time
    RETURNING updated_at
), unpublished AS (
    INSERT INTO unpublished_batch (observations)
    SELECT string_agg(int4send(%(datastream_id)s::int) || timestamptz_send(time), '' ORDER BY time)
      FROM inserted
     WHERE EXISTS (SELECT FROM publication WHERE seen_at > now() - INTERVAL '7 days')
    HAVING count(*) > 0
), audited AS (
    INSERT INTO audit_entry (actor, tenant, action, subject, detail)
    SELECT %(actor)s, %(tenant)s, %(action)s, %(subject)s, jsonb_build_object('observations', number)
      FROM (SELECT count(*) AS number FROM inserted) AS counted
     WHERE number = cardinality(%(times)s::timestamptz[])
)
SELECT (SELECT count(*) FROM inserted),
       (SELECT pg_notify(%(channel)s, json_build_object('latest',
                   greatest(updated_at, (SELECT max(latest.updated_at) FROM latest)))::text)::text
          FROM newest)
