-- Epochs of the last days in which messages are missing: below the highest number seen, or below what the
-- gateway itself declared as its last.
SELECT
    council.name AS council,
    gateway.device,
    gateway.label,
    epoch.recipient_group,
    epoch.counter,
    epoch.received_at,
    epoch.received_messages AS received,
    greatest(epoch.final_seq, epoch.highest_seq) AS sent,
    epoch.final_seq IS NOT NULL AS ended
FROM epoch
JOIN gateway ON gateway.id = epoch.gateway_id
JOIN council ON council.id = gateway.council_id
WHERE epoch.received_at > now() - %(days)s * interval '1 day'
  AND greatest(epoch.final_seq, epoch.highest_seq) > epoch.received_messages
ORDER BY epoch.received_at DESC
LIMIT %(limit)s
