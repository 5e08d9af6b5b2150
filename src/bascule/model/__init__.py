"""L2 model: one file per resource, frozen pydantic models with APISIX's attribute names; settings. Imports errors, observe."""
