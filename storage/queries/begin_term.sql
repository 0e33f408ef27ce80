INSERT INTO ingest_worker (scope, worker, workers) VALUES (%(scope)s, %(worker)s, %(workers)s)
ON CONFLICT (scope, worker) DO UPDATE
   SET term = ingest_worker.term + 1, workers = excluded.workers, since = now()
RETURNING term
