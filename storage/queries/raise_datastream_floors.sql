INSERT INTO datastream_floor AS kept (datastream_id, time)
SELECT id, %(floor)s FROM unnest(%(datastream_ids)s::int[]) AS wanted (id)
    ON CONFLICT (datastream_id) DO UPDATE SET time = excluded.time
 WHERE kept.time < excluded.time
