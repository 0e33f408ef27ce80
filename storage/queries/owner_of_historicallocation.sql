SELECT council_id, (SELECT device FROM gateway WHERE id = gateway_id)
  FROM historical_location
  JOIN thing ON thing.id = thing_id
 WHERE historical_location.id = %(id)s
   FOR UPDATE OF historical_location
