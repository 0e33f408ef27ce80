-- Unit and observed property are what stored results mean: a description cannot change them. Nor does it decide who
-- may read them: that is as the council says of new datastreams, and afterwards of this one.
INSERT INTO datastream AS kept (
    council_id, thing_id, sensor_id, observed_property_id, feature_of_interest_id, short_name, name,
    description, unit, observation_type, period_seconds, averaging_seconds, valid_minimum,
    valid_maximum, properties, access
)
VALUES (
    %(council_id)s, %(thing_id)s, %(sensor_id)s, %(observed_property_id)s,
    %(feature_of_interest_id)s, %(short_name)s, %(name)s, %(description)s, %(unit)s,
    %(observation_type)s, %(period_seconds)s, %(averaging_seconds)s, %(valid_minimum)s,
    %(valid_maximum)s, %(properties)s,
    (SELECT CASE WHEN restricts_new_datastreams THEN 'restricted' ELSE 'open' END
       FROM council
      WHERE id = %(council_id)s)
)
    ON CONFLICT (sensor_id, short_name) DO UPDATE
   SET thing_id = excluded.thing_id,
       feature_of_interest_id = excluded.feature_of_interest_id,
       name = excluded.name,
       description = excluded.description,
       period_seconds = excluded.period_seconds,
       averaging_seconds = excluded.averaging_seconds,
       valid_minimum = excluded.valid_minimum,
       valid_maximum = excluded.valid_maximum,
       properties = excluded.properties
 WHERE kept.unit = excluded.unit
   AND kept.observed_property_id = excluded.observed_property_id
RETURNING id
