SELECT council_id, (SELECT device FROM gateway WHERE id = gateway_id)
  FROM thing
 WHERE id = %(id)s
   FOR UPDATE
