INSERT INTO observed_property (key, name, definition, description)
VALUES (%(key)s, %(name)s, %(definition)s, %(description)s)
    ON CONFLICT (key) DO UPDATE
   SET name = excluded.name, definition = excluded.definition, description = excluded.description
RETURNING id
