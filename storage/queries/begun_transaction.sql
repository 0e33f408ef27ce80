-- The current transaction, and whether a publisher worked in the last week: what is stored is left for it then.
SELECT pg_current_xact_id()::text::bigint,
       EXISTS (SELECT FROM publication WHERE seen_at > now() - INTERVAL '7 days')
