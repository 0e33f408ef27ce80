WITH gone AS (
    DELETE FROM heartbeat
     WHERE process = %(process)s AND share = %(share)s AND worker >= greatest(%(workers)s, %(worker)s + 1)
)
INSERT INTO heartbeat (process, share, worker, workers, started_at, at, facts)
VALUES (%(process)s, %(share)s, %(worker)s, %(workers)s, %(started_at)s, now(), %(facts)s)
ON CONFLICT (process, share, worker) DO UPDATE
   SET workers = excluded.workers, started_at = excluded.started_at, at = excluded.at, facts = excluded.facts
