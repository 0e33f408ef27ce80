-- What was refused or quarantined in the last hours, by reason, with the newest case of each that the reader may see.
SELECT
    refusal.reason,
    sum(refusal.n)::bigint AS n,
    max(refusal.last_at) AS last_at,
    array_agg(DISTINCT refusal.device ORDER BY refusal.device) AS devices,
    coalesce(
        (array_agg(refusal.last_detail ORDER BY refusal.last_at DESC)
         FILTER (WHERE coalesce(all_readable(gateway.id), true)))[1],
        ''
    ) AS last_detail
FROM refusal
LEFT JOIN gateway ON gateway.device = refusal.device
WHERE refusal.hour > now() - %(hours)s * interval '1 hour'
GROUP BY refusal.reason
ORDER BY n DESC, refusal.reason
