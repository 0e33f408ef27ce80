-- A day is thinned once observations of it may have been dropped.
SELECT tenant, day, version, changed_at,
       coalesce((SELECT time FROM observation_floor) > day::timestamp AT TIME ZONE 'UTC', false)
       OR EXISTS (
           SELECT
             FROM datastream_floor
             JOIN datastream ON datastream.id = datastream_id
            WHERE datastream.council_id = council.id
              AND time > day::timestamp AT TIME ZONE 'UTC')
  FROM changed_day
  JOIN council ON council.id = council_id
 WHERE (%(councils)s::text[] = '{}' OR tenant = ANY (%(councils)s))
   AND day >= coalesce(%(start)s, '-infinity'::date)
   AND day <= %(end)s
 ORDER BY day, tenant
