-- The update that changes nothing makes RETURNING answer for a row that exists.
INSERT INTO gateway AS kept (council_id, device, label)
VALUES (%(council_id)s, %(device)s, %(label)s)
    ON CONFLICT (device) DO UPDATE
   SET label = CASE WHEN excluded.label = '' THEN kept.label ELSE excluded.label END
 WHERE kept.council_id = excluded.council_id
RETURNING id
