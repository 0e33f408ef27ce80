INSERT INTO location (council_id, name, description, location, longitude, latitude)
VALUES (%(council_id)s, %(name)s, %(description)s, %(location)s, %(longitude)s, %(latitude)s)
RETURNING id
