INSERT INTO observation_floor AS kept (time) VALUES (%(floor)s)
    ON CONFLICT (only_row) DO UPDATE SET time = greatest(kept.time, excluded.time)
