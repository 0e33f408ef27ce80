INSERT INTO thing AS kept (council_id, gateway_id, urn, name, description, properties, approved)
SELECT id, %(gateway_id)s, %(urn)s, %(name)s, %(description)s, %(properties)s,
       NOT descriptions_need_approval
  FROM council
 WHERE id = %(council_id)s
    ON CONFLICT (urn) DO UPDATE
   SET name = excluded.name, description = excluded.description, properties = excluded.properties
 WHERE kept.gateway_id = excluded.gateway_id
RETURNING id
