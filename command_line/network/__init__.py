"""`kerbstone network`: making and running a secure network that many councils share.

What can be done is in plain functions, for whoever wants to call them: `setup`, `councils`,
`gateways`, `rotation`, `passes`, `status`. `commands` holds their words on the command line.
"""
