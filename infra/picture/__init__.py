"""The picture of both workflows, drawn from the templates: what is not in them is not in it.

`template` reads the templates, `graph` decides what there is to see, `layout` where it goes,
`draw` draws it. Nothing here needs CDK.
"""
