-- From now on whoever stores leaves word of it. What is stored already is no news.
INSERT INTO publication (catch_up)
VALUES (%(catch_up)s)
    ON CONFLICT (only_row) DO UPDATE SET catch_up = excluded.catch_up, seen_at = now()
