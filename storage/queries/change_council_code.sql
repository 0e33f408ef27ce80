-- Unless a council has or had the code already.
WITH free AS (
    SELECT
     WHERE NOT EXISTS (SELECT FROM council WHERE gss = %(gss)s)
       AND NOT EXISTS (SELECT FROM former_council_code WHERE gss = %(gss)s)
), kept AS (
    INSERT INTO former_council_code (gss, council_id, name, valid_from, valid_until)
    SELECT %(old)s, %(council_id)s, %(old_name)s, %(valid_from)s, %(valid_until)s FROM free
)
UPDATE council
   SET gss = %(gss)s, name = %(name)s, code_since = %(since)s
  FROM free
 WHERE council.id = %(council_id)s
