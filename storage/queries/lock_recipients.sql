SELECT recipient_group, kid, retired_at
  FROM recipient
 WHERE council_id = %(council_id)s
 ORDER BY id
   FOR UPDATE
