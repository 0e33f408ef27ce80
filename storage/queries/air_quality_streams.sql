-- The datastreams of the sites that the reader may see that observe what has an index, by site, then as its page has them.
SELECT datastream.thing_id, datastream.id, observed_property.key, datastream.unit, datastream.averaging_seconds,
       datastream.period_seconds
  FROM readable_datastream AS datastream
  JOIN thing ON thing.id = datastream.thing_id
  JOIN observed_property ON observed_property.id = datastream.observed_property_id
 WHERE observed_property.key = ANY (%(keys)s)
   AND right(thing.urn, 7) <> ':health'
   AND (%(things)s::int[] IS NULL OR datastream.thing_id = ANY (%(things)s))
 ORDER BY datastream.thing_id, observed_property.name, datastream.id
