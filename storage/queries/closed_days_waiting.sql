SELECT EXISTS (SELECT FROM rollup_log WHERE bucket < %(today)s)
