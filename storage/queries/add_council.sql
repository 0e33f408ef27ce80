INSERT INTO council (gss, tenant, name)
VALUES (%(gss)s, %(tenant)s, %(name)s)
    ON CONFLICT (gss) DO UPDATE SET tenant = excluded.tenant, name = excluded.name
RETURNING id
