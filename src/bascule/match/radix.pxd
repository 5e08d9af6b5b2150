from cpython.ref cimport PyObject

# What a pattern leads to: candidates (borrowed) in the order they are tried.
cdef struct Bucket:
    int count
    int capacity
    PyObject* items[1]

cdef enum:
    NEAR = 16               # labels up to this length stand in the node itself

cdef union Label:
    char near[16]
    char* far

# 64 bytes. Its kids are a block of kid_capacity pointers followed by as many bytes, the first of each kid's label,
# ascending.
cdef struct Node:
    Node* parent
    Node* param             # goes on behind one ":segment"; the node there has an empty label
    void* exact             # payload of the pattern that ends here
    void* prefix            # payload of the pattern that ends here with "*"
    Node** kids
    Label label
    int label_len
    unsigned short kid_count
    unsigned short kid_capacity

cdef class Radix:
    cdef Node* root
    cdef bint owns_payloads             # payloads are Buckets, freed with the tree
    cdef readonly Py_ssize_t nodes      # besides the root
    cdef public Py_ssize_t patterns     # kept by the router
    cdef readonly object owner          # HostPattern of the host whose paths these are, or None
    cdef Node* make(self, tuple parts) except NULL
    cdef Node* seek(self, tuple parts) except? NULL
    cdef int prune(self, Node* node) except -1
    cdef Node* extend(self, Node* node, const char* p, Py_ssize_t n) except NULL
    cdef int split(self, Node* node, int at) except -1
    cdef int reserve(self, Node* node, int count) except -1
    cdef int adopt(self, Node* parent, Node* kid) except -1
    cdef void detach(self, Node* node) noexcept
    cdef int merge(self, Node* node) except -1
    cdef int relabel(self, Node* node, const char* label, Py_ssize_t n, const char* more, Py_ssize_t extra) except -1
    cdef Node* create(self, const char* label, Py_ssize_t n) except NULL
    cdef void release(self, Node* node) noexcept
    cdef void release_all(self, Node* node) noexcept

cdef const char* label_of(const Node* node) noexcept nogil
cdef Node* child_of(const Node* node, unsigned char first) noexcept nogil
# The deepest node below `node` whose whole label run is a prefix of p[:n]; *used: how many bytes that run has.
cdef Node* descend(Node* node, const char* p, Py_ssize_t n, Py_ssize_t* used) noexcept nogil
cdef Bucket* bucket_insert(Bucket* bucket, int at, PyObject* item) except NULL
cdef Bucket* bucket_remove(Bucket* bucket, int at) noexcept
