-- The feature of interest that is made of a Location, made if it is new: its geometry alone, since what a Feature says
-- beside that is about the Location.
INSERT INTO feature_of_interest (council_id, location_id, name, description, feature)
SELECT council_id, id, name, 'The surroundings of ' || name,
       CASE WHEN location ->> 'type' = 'Feature' THEN location -> 'geometry' ELSE location END
  FROM location
 WHERE id = %(location_id)s
    ON CONFLICT (location_id) DO UPDATE SET location_id = excluded.location_id
RETURNING id
