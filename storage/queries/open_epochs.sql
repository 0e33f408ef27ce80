SELECT epoch_id, gateway_id, tenant, device, recipient_group, counter, content_algorithm, sealed_key,
       extract(epoch FROM closes_at)::bigint, highest_seq, contiguous_seq, received_messages,
       final_seq
  FROM epoch
  JOIN gateway ON gateway.id = gateway_id
  JOIN council ON council.id = council_id
 WHERE closes_at > to_timestamp(%(now)s)
   AND (%(gateway_ids)s::int[] IS NULL OR gateway_id = ANY (%(gateway_ids)s::int[]))
 ORDER BY gateway_id, recipient_group, counter
