# What pure-Python mode can't declare, for phases.py: a coroutine's end without an exception.
from cpython.object cimport PyObject

cdef extern from "Python.h":
    # 1: it waits for *result; 0: it returned *result, a new reference
    int PyIter_Send(object iterator, object value, PyObject** result) except -1
