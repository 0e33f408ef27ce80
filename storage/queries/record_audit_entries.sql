INSERT INTO audit_entry (actor, tenant, action, subject, detail)
SELECT %(actor)s, %(tenant)s, %(action)s, subject, detail
  FROM unnest(%(subjects)s::text[], %(details)s::jsonb[]) AS act (subject, detail)
