-- A datastream as far as new observations by hand need it; it stays locked, so that nobody else adds to it meanwhile.
SELECT datastream.council_id,
       (SELECT device FROM sensor JOIN gateway ON gateway.id = gateway_id WHERE sensor.id = sensor_id),
       unit,
       observation_type,
       (SELECT tenant FROM council WHERE council.id = datastream.council_id),
       feature_of_interest_id IS NOT NULL,
       EXISTS (SELECT FROM readable_datastream AS readable WHERE readable.id = datastream.id)
  FROM datastream
 WHERE datastream.id = %(id)s
   FOR UPDATE OF datastream
