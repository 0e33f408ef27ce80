INSERT INTO recipient AS kept (
    council_id, recipient_group, role, kid, cose_key, valid_from, valid_until
)
VALUES (
    %(council_id)s, %(group)s, %(role)s, %(kid)s, %(cose_key)s, %(valid_from)s, %(valid_until)s
)
    ON CONFLICT (council_id, recipient_group, kid) DO UPDATE
   SET role = excluded.role,
       valid_from = least(kept.valid_from, excluded.valid_from),
       valid_until = greatest(kept.valid_until, excluded.valid_until)
 WHERE kept.retired_at IS NULL
