-- A gateway describes it if a Thing of one is or was there.
SELECT council_id,
       (SELECT min(device)
          FROM gateway
          JOIN thing ON thing.gateway_id = gateway.id
         WHERE thing.id IN (SELECT thing_id FROM thing_location WHERE location_id = location.id
                            UNION ALL
                            SELECT thing_id
                              FROM historical_location
                              JOIN historical_location_location AS there
                                ON there.historical_location_id = historical_location.id
                             WHERE there.location_id = location.id))
  FROM location
 WHERE id = %(id)s
   FOR UPDATE
