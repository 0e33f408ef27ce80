INSERT INTO signing_key AS kept (kid, gateway_id, algorithm, cose_key, valid_from, valid_until)
VALUES (%(kid)s, %(gateway_id)s, %(algorithm)s, %(cose_key)s, %(valid_from)s, %(valid_until)s)
    ON CONFLICT (kid) DO UPDATE
   SET valid_from = least(kept.valid_from, excluded.valid_from),
       valid_until = greatest(kept.valid_until, excluded.valid_until)
 WHERE kept.gateway_id = excluded.gateway_id AND kept.cose_key = excluded.cose_key
   AND kept.superseded_at IS NULL
