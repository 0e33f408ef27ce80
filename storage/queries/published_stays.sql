-- Since when each Thing was where, and where it is where its history says nothing. Of several places one is told.
SELECT DISTINCT ON (stay.thing_id, stay.since, stay.number)
       stay.thing_id, stay.since,
       location.id, location.name, location.description,
       CASE WHEN location.location ->> 'type' = 'Feature' THEN location.location -> 'geometry'
            ELSE location.location END,
       location.longitude, location.latitude
  FROM (SELECT h.thing_id, h.time AS since, h.id AS number, l.location_id
          FROM historical_location h
          JOIN historical_location_location l ON l.historical_location_id = h.id
         WHERE h.thing_id = ANY (%(things)s)
        UNION ALL
        SELECT t.thing_id, '1970-01-01 00:00:00+00', 0, t.location_id
          FROM thing_location t
         WHERE t.thing_id = ANY (%(things)s)
           AND NOT EXISTS (SELECT FROM historical_location h WHERE h.thing_id = t.thing_id)) AS stay
  JOIN location ON location.id = stay.location_id
 ORDER BY stay.thing_id, stay.since, stay.number, location.id DESC
