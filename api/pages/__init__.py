"""Pages for people, and the files beside them: how things are now, at each site, and at the centre.

Pages to administer with are `api.administration`; signing in is `api.sign_in`.
"""
