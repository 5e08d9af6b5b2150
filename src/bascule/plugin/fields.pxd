from bascule.wire.head cimport Head

# The fields of a head together with those that plugins added: [(name: bytes, value: bytes)] or None.
cdef object find_field(Head head, list added, str name)
cdef list field_values(Head head, list added, str name)
cdef list all_fields(Head head, list added)
cdef list without_field(Head head, list added, str name)
cdef list forwarded_fields(Head head)
cdef bytes field_name(object name)
cdef bytes field_value(object name, object value)
cdef bytes checked_name(object name)
cdef bytes decimal(object value)
cdef bint is_among(list added, str name) except -1
cdef bint begins_x_c(Head head) noexcept
