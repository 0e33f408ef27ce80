-- A datastream is its sensor's: the gateway that reports for that one describes it.
SELECT council_id,
       (SELECT device FROM sensor JOIN gateway ON gateway.id = gateway_id WHERE sensor.id = sensor_id)
  FROM datastream
 WHERE id = %(id)s
   FOR UPDATE
