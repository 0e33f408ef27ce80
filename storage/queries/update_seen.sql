INSERT INTO gateway_seen AS kept (gateway_id, last_message_at)
SELECT gateway_id, to_timestamp(last_message_at)
  FROM unnest(%(gateway_ids)s::int[], %(times)s::bigint[]) AS fresh (gateway_id, last_message_at)
    ON CONFLICT (gateway_id) DO UPDATE
   SET last_message_at = greatest(kept.last_message_at, excluded.last_message_at)
