DELETE FROM quarantine WHERE received_at < %(floor)s
