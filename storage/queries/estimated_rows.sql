-- Of a table and what inherits from it, partitions and chunks alike, as last analysed.
WITH RECURSIVE part (oid) AS (
    SELECT to_regclass(name)::oid FROM unnest(%(tables)s::text[]) AS name
    UNION ALL
    SELECT inhrelid FROM pg_inherits JOIN part ON inhparent = part.oid
)
SELECT coalesce(sum(greatest(reltuples, 0)) FILTER (WHERE relkind <> 'p'), 0)::bigint
  FROM part
  JOIN pg_class USING (oid)
