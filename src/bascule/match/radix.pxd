from cpython.ref cimport PyObject

# What a pattern leads to: candidates (borrowed) in the order they are tried.
cdef struct Bucket:
    int count
    int capacity
    PyObject* items[1]

cdef struct Node:
    Node* parent
    Node* param             # goes on behind one ":segment"; the node there has an empty label
    Node** kids             # in the order of firsts
    unsigned char* firsts   # first byte of each kid's label, ascending
    void* exact             # payload of the pattern that ends here
    void* prefix            # payload of the pattern that ends here with "*"
    char* label
    int label_len
    int kid_count
    int kid_capacity

cdef class Radix:
    cdef Node* root
    cdef bint owns_payloads             # payloads are Buckets, freed with the tree
    cdef readonly Py_ssize_t nodes      # besides the root
    cdef public Py_ssize_t patterns     # kept by the owner
    cdef Node* make(self, tuple parts) except NULL
    cdef Node* seek(self, tuple parts) except? NULL
    cdef int prune(self, Node* node) except -1
    cdef Node* extend(self, Node* node, const char* p, Py_ssize_t n) except NULL
    cdef int split(self, Node* node, int at) except -1
    cdef int adopt(self, Node* parent, Node* kid) except -1
    cdef void detach(self, Node* node) noexcept
    cdef int merge(self, Node* node) except -1
    cdef Node* create(self, const char* label, Py_ssize_t n) except NULL
    cdef void release(self, Node* node) noexcept
    cdef void release_all(self, Node* node) noexcept

cdef Node* child_of(const Node* node, unsigned char first) noexcept nogil
# The deepest node below `node` whose whole label run is a prefix of p[:n]; *used: how many bytes that run has.
cdef Node* descend(Node* node, const char* p, Py_ssize_t n, Py_ssize_t* used) noexcept nogil
cdef Bucket* bucket_insert(Bucket* bucket, int at, PyObject* item) except NULL
cdef Bucket* bucket_remove(Bucket* bucket, int at) noexcept
