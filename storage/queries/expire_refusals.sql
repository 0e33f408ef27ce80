DELETE FROM refusal WHERE hour < %(floor)s
