INSERT INTO revocation_list AS kept (council_id, number, this_update, next_update, message)
VALUES (%(council_id)s, %(number)s, %(this_update)s, %(next_update)s, %(message)s)
    ON CONFLICT (council_id) DO UPDATE
   SET number = excluded.number,
       this_update = excluded.this_update,
       next_update = excluded.next_update,
       message = excluded.message
 WHERE excluded.number > kept.number
