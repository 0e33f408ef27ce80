SELECT id, at, actor, tenant, action, subject, detail
  FROM audit_entry
 WHERE (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
   AND (%(subject)s::text IS NULL OR subject = %(subject)s)
 ORDER BY at DESC, id DESC
 LIMIT %(limit)s
