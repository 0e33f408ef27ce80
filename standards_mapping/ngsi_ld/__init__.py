"""What is stored as entities of NGSI-LD (ETSI GS CIM 009), after the Smart Data Models. Pure.

`rules` makes a model's value of a result, `models` says which model that is and how its entities
are named, `entity` puts entities together and writes them, `contexts` holds the terms.
"""
