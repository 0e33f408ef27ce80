WITH gone AS (
    DELETE FROM unpublished_batch WHERE id = ANY (%(finished)s)
)
UPDATE publication SET seen_at = now(), batch = %(batch)s, done = %(done)s
