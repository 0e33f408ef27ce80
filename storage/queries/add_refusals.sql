INSERT INTO refusal AS kept (hour, tenant, device, reason, n, last_at, last_detail)
SELECT to_timestamp(hour), tenant, device, reason, n, to_timestamp(last_at), last_detail
  FROM unnest(%(hours)s::bigint[], %(tenants)s::text[], %(devices)s::text[], %(reasons)s::text[],
              %(ns)s::bigint[], %(last_ats)s::bigint[], %(last_details)s::text[])
       AS fresh (hour, tenant, device, reason, n, last_at, last_detail)
    ON CONFLICT (hour, tenant, device, reason) DO UPDATE
   SET n = kept.n + excluded.n,
       last_at = greatest(kept.last_at, excluded.last_at),
       last_detail = excluded.last_detail
