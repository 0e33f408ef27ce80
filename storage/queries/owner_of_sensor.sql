SELECT council_id, (SELECT device FROM gateway WHERE id = gateway_id)
  FROM sensor
 WHERE id = %(id)s
   FOR UPDATE
