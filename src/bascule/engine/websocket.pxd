from bascule.engine.exchange cimport Exchange
from bascule.engine.parties cimport Relay
from bascule.net.stream cimport Stream
from bascule.plugin.frame cimport Frame
from bascule.wire.websocket cimport Frames

cdef enum:
    # what becomes of the present frame
    F_PASS = 0              # goes on as its bytes come
    F_HOLD = 1              # is held until it is whole
    F_DROP = 2

# One direction of a WebSocket.
cdef class Way:
    cdef Frames f
    cdef bint from_client
    cdef list looks             # Steps that see heads only
    cdef list frames            # that see whole frames
    cdef list messages          # that see whole messages
    cdef bint holds             # somebody looks at payloads
    cdef Py_ssize_t limit       # bytes of a message held at most
    cdef int fate               # F_*
    cdef bint emptied           # the frame goes on, without its payload
    cdef bint unwanted          # the rest of the present message goes nowhere
    cdef bint closed            # its close frame has come: nothing more does
    cdef bint heard             # something has come since the last tick of pings
    cdef bint pinged            # the gateway waits for a pong of this side's
    cdef int kind               # opcode of the message that is held
    cdef unsigned int utf8
    cdef list pieces            # of that message
    cdef Py_ssize_t message_len
    cdef char* held             # the present frame's payload
    cdef Py_ssize_t held_len
    cdef Py_ssize_t held_cap
    cdef int reserve(self, Py_ssize_t n)
    cdef int hold(self, const char* p, Py_ssize_t n)

cdef class WebsocketRelay(Relay):
    cdef Exchange x             # None: it is over
    cdef Way client             # what comes from there
    cdef Way upstream
    cdef object verdict         # Close, that a hook or a limit has come to within a head
    cdef unsigned char token[8]  # payload of the gateway's own pings
    cdef long long ends_at      # us; 0: no limit
    cdef long long ping_at
    cdef long long ping_us
    cdef int feed(self, Way w, const char* p, Py_ssize_t n)
    cdef int judge(self, Way w)
    cdef int whole(self, Way w)
    cdef int control(self, Way w, char* p, Py_ssize_t n)
    cdef int pass_on(self, Way w, int opcode, bint fin, char* p, Py_ssize_t n)
    cdef int put(self, Way w, int opcode, bint fin, bytes payload)
    cdef int violated(self, Way w, int code)
    cdef int close_both(self, object close)
    cdef int close_apart(self, int client_code, int upstream_code, str reason)
    cdef int last_bytes(self, Way w, const char* p, Py_ssize_t n)
    cdef bint tell(self, Way w, int opcode, bytes payload)
    cdef object ask(self, list steps, Frame frame)
    cdef int tick(self)
