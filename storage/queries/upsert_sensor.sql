-- The gateway that now works at the site of a revoked one takes over what that one described.
INSERT INTO sensor AS kept (council_id, gateway_id, urn, name, description, metadata)
VALUES (%(council_id)s, %(gateway_id)s, %(urn)s, %(name)s, %(description)s, %(metadata)s)
    ON CONFLICT (urn) DO UPDATE
   SET gateway_id = excluded.gateway_id,
       name = excluded.name,
       description = excluded.description,
       metadata = excluded.metadata
 WHERE kept.gateway_id = excluded.gateway_id
    OR EXISTS (SELECT
                 FROM gateway AS heir
                 JOIN gateway AS gone USING (council_id, site)
                WHERE heir.id = excluded.gateway_id
                  AND heir.status = 'active'
                  AND gone.id = kept.gateway_id
                  AND gone.status = 'revoked')
RETURNING id
