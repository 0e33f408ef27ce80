SELECT id
  FROM location
 WHERE council_id = %(council_id)s AND name = %(name)s
   AND longitude = %(longitude)s AND latitude = %(latitude)s
 ORDER BY id
 LIMIT 1
