-- Another council that one of these words, in small letters, names: by its short name or a code, also a former one.
SELECT named.word
  FROM (SELECT id, tenant AS word FROM council
        UNION ALL
        SELECT id, gss FROM council
        UNION ALL
        SELECT council_id, gss FROM former_council_code) AS named
 WHERE lower(named.word) = ANY (%(parts)s)
   AND named.id <> %(council_id)s
 LIMIT 1
