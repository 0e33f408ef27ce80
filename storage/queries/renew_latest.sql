-- The newest observation of one datastream, also where it has become an older one, or none. In one statement, which a
-- row that somebody reads meanwhile never lacks.
WITH newest AS (
    SELECT observation.time, observation.value, extra.result, coalesce(extra.quality, 0) AS quality
      FROM observation
      LEFT JOIN observation_extra AS extra
        ON extra.datastream_id = observation.datastream_id AND extra.time = observation.time
     WHERE observation.datastream_id = %(datastream_id)s
     ORDER BY observation.time DESC
     LIMIT 1
), gone AS (
    DELETE FROM latest WHERE datastream_id = %(datastream_id)s AND NOT EXISTS (SELECT FROM newest)
)
INSERT INTO latest AS kept (datastream_id, time, value, result, quality)
SELECT %(datastream_id)s, time, value, result, quality FROM newest
    ON CONFLICT (datastream_id) DO UPDATE
   SET time = excluded.time, value = excluded.value, result = excluded.result, quality = excluded.quality,
       updated_at = excluded.updated_at
 WHERE (kept.time, kept.value, kept.result, kept.quality)
       IS DISTINCT FROM (excluded.time, excluded.value, excluded.result, excluded.quality)
