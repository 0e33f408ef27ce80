INSERT INTO sensor AS kept (council_id, gateway_id, urn, name, description, metadata)
VALUES (%(council_id)s, %(gateway_id)s, %(urn)s, %(name)s, %(description)s, %(metadata)s)
    ON CONFLICT (urn) DO UPDATE
   SET name = excluded.name, description = excluded.description, metadata = excluded.metadata
 WHERE kept.gateway_id = excluded.gateway_id
RETURNING id
