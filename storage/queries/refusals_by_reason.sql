-- What was refused or quarantined in the last hours, by reason, with the newest case of each.
SELECT
    refusal.reason,
    sum(refusal.n)::bigint AS n,
    max(refusal.last_at) AS last_at,
    array_agg(DISTINCT refusal.device ORDER BY refusal.device) AS devices,
    (array_agg(refusal.last_detail ORDER BY refusal.last_at DESC))[1] AS last_detail
FROM refusal
WHERE refusal.hour > now() - %(hours)s * interval '1 hour'
GROUP BY refusal.reason
ORDER BY n DESC, refusal.reason
