-- What waited longer than the publisher wants to catch up with.
DELETE FROM unpublished_batch WHERE stored_at < now() - (SELECT catch_up FROM publication)
