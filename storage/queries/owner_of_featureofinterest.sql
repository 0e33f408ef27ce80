-- A gateway describes it if what one reports is or was about it.
SELECT council_id,
       (SELECT min(device)
          FROM gateway
         WHERE id IN (SELECT sensor.gateway_id
                        FROM sensor
                        JOIN datastream ON datastream.sensor_id = sensor.id
                       WHERE datastream.feature_of_interest_id = feature_of_interest.id
                       UNION ALL
                      SELECT thing.gateway_id
                        FROM thing
                        JOIN historical_location ON historical_location.thing_id = thing.id
                        JOIN historical_location_location AS there
                          ON there.historical_location_id = historical_location.id
                       WHERE there.location_id = feature_of_interest.location_id))
  FROM feature_of_interest
 WHERE id = %(id)s
   FOR UPDATE
