-- Every code of every council, by council, oldest first.
SELECT tenant, gss, name, valid_from, valid_until, coalesce(lead(gss) OVER codes, '') AS replaced_by
  FROM (SELECT council.tenant, former.gss, former.name, former.valid_from, former.valid_until
          FROM former_council_code AS former
          JOIN council ON council.id = former.council_id
        UNION ALL
        SELECT tenant, gss, name, code_since, NULL FROM council) AS code
WINDOW codes AS (PARTITION BY tenant ORDER BY valid_until NULLS LAST)
 ORDER BY tenant, valid_until NULLS LAST
