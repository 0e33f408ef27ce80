-- Open or restrict datastreams of a council: of one property, one alone, or all; those that are so already are not told.
UPDATE datastream
   SET access = %(access)s
  FROM observed_property
 WHERE observed_property.id = datastream.observed_property_id
   AND datastream.council_id = %(council_id)s
   AND (%(property_key)s::text IS NULL OR observed_property.key = %(property_key)s)
   AND (%(datastream_id)s::bigint IS NULL OR datastream.id = %(datastream_id)s)
   AND datastream.access <> %(access)s
RETURNING datastream.id
