SELECT datastream.id, sensor.urn || ':' || datastream.short_name, datastream.name, datastream.description,
       thing.urn, thing.name, sensor.urn, sensor.name, observed_property.key, observed_property.name,
       observed_property.definition, datastream.unit, datastream.observation_type, datastream.period_seconds,
       datastream.averaging_seconds, datastream.valid_minimum, datastream.valid_maximum, location.longitude,
       location.latitude
  FROM datastream
  JOIN council ON council.id = datastream.council_id
  JOIN thing ON thing.id = datastream.thing_id
  JOIN sensor ON sensor.id = datastream.sensor_id
  JOIN observed_property ON observed_property.id = datastream.observed_property_id
  LEFT JOIN LATERAL (
       SELECT longitude, latitude
         FROM thing_location
         JOIN location ON location.id = location_id
        WHERE thing_location.thing_id = thing.id
        ORDER BY location.id
        LIMIT 1) AS location ON true
 WHERE tenant = %(council)s
 ORDER BY datastream.id
