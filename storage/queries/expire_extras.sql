DELETE FROM observation_extra WHERE time < %(floor)s
