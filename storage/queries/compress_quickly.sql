-- Not every server is built with lz4; one without it keeps its own way. Of this session only.
SELECT set_config(name, 'lz4', false)
  FROM pg_settings
 WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)
