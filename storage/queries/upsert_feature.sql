INSERT INTO feature_of_interest (council_id, location_id, name, description, feature)
VALUES (%(council_id)s, %(location_id)s, %(name)s, %(description)s, %(feature)s)
    ON CONFLICT (location_id) DO UPDATE SET name = excluded.name
RETURNING id
