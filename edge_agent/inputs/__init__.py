"""What sensors are read through: connections, lines and pipes, and the forms of what they carry.

What a kind of sensor makes of it is told in `edge_agent.sensors`.
"""
