SELECT datastream.id
  FROM datastream
  JOIN council ON council.id = council_id
  JOIN observed_property ON observed_property.id = observed_property_id
 WHERE (%(observed_properties)s::text[] = '{}' OR observed_property.key = ANY (%(observed_properties)s))
   AND (%(councils)s::text[] = '{}' OR tenant = ANY (%(councils)s))
 ORDER BY datastream.id
