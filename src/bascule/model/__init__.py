"""L2 model: one file per resource, frozen pydantic models with APISIX's attribute names; settings.

Imports errors, observe. A model checks one resource by itself: what it refers to is the snapshot's business.
"""
