-- A renewal changes neither the status nor when the gateway enrolled.
UPDATE gateway
   SET status = 'active',
       status_at = CASE WHEN status = 'active' THEN status_at ELSE now() END,
       status_reason = CASE WHEN status = 'active' THEN status_reason ELSE '' END,
       enrolled_at = now()
 WHERE id = %(gateway_id)s
   AND NOT %(renewed)s
