SELECT sensor.gateway_id, urn, short_name, datastream.id, unit, valid_minimum, valid_maximum
  FROM datastream
  JOIN sensor ON sensor.id = sensor_id
  JOIN gateway ON gateway.id = sensor.gateway_id
 WHERE %(device)s::text IS NULL OR device = %(device)s
