INSERT INTO epoch (
    epoch_id, gateway_id, recipient_group, counter, announcement_sha256, content_algorithm,
    sealed_key, received_at, closes_at, key_set_version
)
VALUES (
    %(epoch_id)s, %(gateway_id)s, %(group)s, %(counter)s, %(announcement_sha256)s,
    %(content_algorithm)s, %(sealed_key)s,
    to_timestamp(%(received_at)s), to_timestamp(%(closes_at)s), %(key_set_version)s
)
ON CONFLICT DO NOTHING
