INSERT INTO gateway_description (gateway_id, sha256, described_at)
VALUES (%(gateway_id)s, %(sha256)s, to_timestamp(%(described_at)s))
    ON CONFLICT (gateway_id) DO UPDATE
   SET sha256 = excluded.sha256, described_at = excluded.described_at
