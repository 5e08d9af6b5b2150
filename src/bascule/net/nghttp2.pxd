# C declarations of libnghttp2 (1.52 with Debian's patches, or later): framing, HPACK, flow control. Both sides of a
# connection use them. The callbacks run inside mem_recv and mem_send, with the GIL held, and must not raise.
from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef extern from "nghttp2/nghttp2.h":
    ctypedef struct nghttp2_session:
        pass
    ctypedef struct nghttp2_session_callbacks:
        pass
    ctypedef struct nghttp2_option:
        pass

    enum:
        NGHTTP2_VERSION_NUM
        NGHTTP2_INITIAL_WINDOW_SIZE
        NGHTTP2_CLIENT_MAGIC_LEN

    enum:  # what the functions return; below NGHTTP2_ERR_FATAL the session is lost
        NGHTTP2_ERR_INVALID_ARGUMENT
        NGHTTP2_ERR_BUFFER_ERROR
        NGHTTP2_ERR_WOULDBLOCK
        NGHTTP2_ERR_PROTO
        NGHTTP2_ERR_INVALID_FRAME
        NGHTTP2_ERR_EOF
        NGHTTP2_ERR_DEFERRED
        NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE
        NGHTTP2_ERR_STREAM_CLOSED
        NGHTTP2_ERR_STREAM_CLOSING
        NGHTTP2_ERR_STREAM_SHUT_WR
        NGHTTP2_ERR_INVALID_STREAM_ID
        NGHTTP2_ERR_INVALID_STREAM_STATE
        NGHTTP2_ERR_DEFERRED_DATA_EXIST
        NGHTTP2_ERR_START_STREAM_NOT_ALLOWED
        NGHTTP2_ERR_GOAWAY_ALREADY_SENT
        NGHTTP2_ERR_INVALID_HEADER_BLOCK
        NGHTTP2_ERR_INVALID_STATE
        NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
        NGHTTP2_ERR_FRAME_SIZE_ERROR
        NGHTTP2_ERR_HEADER_COMP
        NGHTTP2_ERR_FLOW_CONTROL
        NGHTTP2_ERR_INSUFF_BUFSIZE
        NGHTTP2_ERR_PAUSE
        NGHTTP2_ERR_TOO_MANY_INFLIGHT_SETTINGS
        NGHTTP2_ERR_REFUSED_STREAM
        NGHTTP2_ERR_INTERNAL
        NGHTTP2_ERR_CANCEL
        NGHTTP2_ERR_SETTINGS_EXPECTED
        NGHTTP2_ERR_TOO_MANY_SETTINGS
        NGHTTP2_ERR_HTTP_HEADER
        NGHTTP2_ERR_HTTP_MESSAGING
        NGHTTP2_ERR_FATAL
        NGHTTP2_ERR_NOMEM
        NGHTTP2_ERR_CALLBACK_FAILURE
        NGHTTP2_ERR_BAD_CLIENT_MAGIC
        NGHTTP2_ERR_FLOODED

    enum:  # frames
        NGHTTP2_DATA
        NGHTTP2_HEADERS
        NGHTTP2_PRIORITY
        NGHTTP2_RST_STREAM
        NGHTTP2_SETTINGS
        NGHTTP2_PUSH_PROMISE
        NGHTTP2_PING
        NGHTTP2_GOAWAY
        NGHTTP2_WINDOW_UPDATE
        NGHTTP2_CONTINUATION

    enum:
        NGHTTP2_FLAG_NONE
        NGHTTP2_FLAG_END_STREAM
        NGHTTP2_FLAG_END_HEADERS
        NGHTTP2_FLAG_ACK
        NGHTTP2_FLAG_PADDED
        NGHTTP2_FLAG_PRIORITY

    enum:
        NGHTTP2_SETTINGS_HEADER_TABLE_SIZE
        NGHTTP2_SETTINGS_ENABLE_PUSH
        NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        NGHTTP2_SETTINGS_MAX_FRAME_SIZE
        NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL
        NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES

    enum:  # error codes of RST_STREAM and GOAWAY
        NGHTTP2_NO_ERROR
        NGHTTP2_PROTOCOL_ERROR
        NGHTTP2_INTERNAL_ERROR
        NGHTTP2_FLOW_CONTROL_ERROR
        NGHTTP2_SETTINGS_TIMEOUT
        NGHTTP2_STREAM_CLOSED
        NGHTTP2_FRAME_SIZE_ERROR
        NGHTTP2_REFUSED_STREAM
        NGHTTP2_CANCEL
        NGHTTP2_COMPRESSION_ERROR
        NGHTTP2_CONNECT_ERROR
        NGHTTP2_ENHANCE_YOUR_CALM
        NGHTTP2_INADEQUATE_SECURITY
        NGHTTP2_HTTP_1_1_REQUIRED

    enum:
        NGHTTP2_NV_FLAG_NONE
        NGHTTP2_NV_FLAG_NO_INDEX
        NGHTTP2_NV_FLAG_NO_COPY_NAME
        NGHTTP2_NV_FLAG_NO_COPY_VALUE

    enum:
        NGHTTP2_DATA_FLAG_NONE
        NGHTTP2_DATA_FLAG_EOF
        NGHTTP2_DATA_FLAG_NO_END_STREAM
        NGHTTP2_DATA_FLAG_NO_COPY

    enum:  # what a HEADERS frame is
        NGHTTP2_HCAT_REQUEST
        NGHTTP2_HCAT_RESPONSE
        NGHTTP2_HCAT_PUSH_RESPONSE
        NGHTTP2_HCAT_HEADERS

    ctypedef struct nghttp2_nv:
        uint8_t* name
        uint8_t* value
        size_t namelen
        size_t valuelen
        uint8_t flags

    ctypedef struct nghttp2_settings_entry:
        int32_t settings_id
        uint32_t value

    ctypedef struct nghttp2_frame_hd:
        size_t length
        int32_t stream_id
        uint8_t type
        uint8_t flags

    ctypedef struct nghttp2_headers:
        nghttp2_frame_hd hd
        int cat

    ctypedef struct nghttp2_rst_stream:
        nghttp2_frame_hd hd
        uint32_t error_code

    ctypedef struct nghttp2_goaway:
        nghttp2_frame_hd hd
        int32_t last_stream_id
        uint32_t error_code
        uint8_t* opaque_data
        size_t opaque_data_len

    ctypedef struct nghttp2_settings:
        nghttp2_frame_hd hd
        size_t niv
        nghttp2_settings_entry* iv

    ctypedef union nghttp2_frame:
        nghttp2_frame_hd hd
        nghttp2_headers headers
        nghttp2_rst_stream rst_stream
        nghttp2_settings settings
        nghttp2_goaway goaway

    ctypedef union nghttp2_data_source:
        int fd
        void* ptr

    ctypedef Py_ssize_t (*nghttp2_data_source_read_callback)(
        nghttp2_session* session, int32_t stream_id, uint8_t* buf, size_t length, uint32_t* data_flags,
        nghttp2_data_source* source, void* user_data) noexcept

    ctypedef struct nghttp2_data_provider:
        nghttp2_data_source source
        nghttp2_data_source_read_callback read_callback

    ctypedef int (*nghttp2_on_frame_recv_callback)(
        nghttp2_session* session, const nghttp2_frame* frame, void* user_data) noexcept
    ctypedef int (*nghttp2_on_invalid_frame_recv_callback)(
        nghttp2_session* session, const nghttp2_frame* frame, int lib_error_code, void* user_data) noexcept
    ctypedef int (*nghttp2_on_data_chunk_recv_callback)(
        nghttp2_session* session, uint8_t flags, int32_t stream_id, const uint8_t* data, size_t length,
        void* user_data) noexcept
    ctypedef int (*nghttp2_on_frame_send_callback)(
        nghttp2_session* session, const nghttp2_frame* frame, void* user_data) noexcept
    ctypedef int (*nghttp2_on_frame_not_send_callback)(
        nghttp2_session* session, const nghttp2_frame* frame, int lib_error_code, void* user_data) noexcept
    ctypedef int (*nghttp2_on_stream_close_callback)(
        nghttp2_session* session, int32_t stream_id, uint32_t error_code, void* user_data) noexcept
    ctypedef int (*nghttp2_on_begin_headers_callback)(
        nghttp2_session* session, const nghttp2_frame* frame, void* user_data) noexcept
    ctypedef int (*nghttp2_on_header_callback)(
        nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t namelen,
        const uint8_t* value, size_t valuelen, uint8_t flags, void* user_data) noexcept
    ctypedef int (*nghttp2_on_begin_frame_callback)(
        nghttp2_session* session, const nghttp2_frame_hd* hd, void* user_data) noexcept
    ctypedef int (*nghttp2_send_data_callback)(
        nghttp2_session* session, nghttp2_frame* frame, const uint8_t* framehd, size_t length,
        nghttp2_data_source* source, void* user_data) noexcept
    ctypedef int (*nghttp2_error_callback2)(
        nghttp2_session* session, int lib_error_code, const char* msg, size_t length, void* user_data) noexcept

    int nghttp2_session_callbacks_new(nghttp2_session_callbacks** callbacks)
    void nghttp2_session_callbacks_del(nghttp2_session_callbacks* callbacks)
    void nghttp2_session_callbacks_set_on_frame_recv_callback(
        nghttp2_session_callbacks*, nghttp2_on_frame_recv_callback)
    void nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
        nghttp2_session_callbacks*, nghttp2_on_invalid_frame_recv_callback)
    void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        nghttp2_session_callbacks*, nghttp2_on_data_chunk_recv_callback)
    void nghttp2_session_callbacks_set_on_frame_send_callback(
        nghttp2_session_callbacks*, nghttp2_on_frame_send_callback)
    void nghttp2_session_callbacks_set_on_frame_not_send_callback(
        nghttp2_session_callbacks*, nghttp2_on_frame_not_send_callback)
    void nghttp2_session_callbacks_set_on_stream_close_callback(
        nghttp2_session_callbacks*, nghttp2_on_stream_close_callback)
    void nghttp2_session_callbacks_set_on_begin_headers_callback(
        nghttp2_session_callbacks*, nghttp2_on_begin_headers_callback)
    void nghttp2_session_callbacks_set_on_header_callback(
        nghttp2_session_callbacks*, nghttp2_on_header_callback)
    void nghttp2_session_callbacks_set_on_invalid_header_callback(
        nghttp2_session_callbacks*, nghttp2_on_header_callback)
    void nghttp2_session_callbacks_set_on_begin_frame_callback(
        nghttp2_session_callbacks*, nghttp2_on_begin_frame_callback)
    void nghttp2_session_callbacks_set_send_data_callback(
        nghttp2_session_callbacks*, nghttp2_send_data_callback)
    void nghttp2_session_callbacks_set_error_callback2(nghttp2_session_callbacks*, nghttp2_error_callback2)

    int nghttp2_option_new(nghttp2_option** option)
    void nghttp2_option_del(nghttp2_option* option)
    void nghttp2_option_set_no_auto_window_update(nghttp2_option*, int)
    void nghttp2_option_set_peer_max_concurrent_streams(nghttp2_option*, uint32_t)
    void nghttp2_option_set_no_http_messaging(nghttp2_option*, int)
    void nghttp2_option_set_no_closed_streams(nghttp2_option*, int)
    void nghttp2_option_set_no_auto_ping_ack(nghttp2_option*, int)
    void nghttp2_option_set_max_outbound_ack(nghttp2_option*, size_t)
    void nghttp2_option_set_max_settings(nghttp2_option*, size_t)
    void nghttp2_option_set_max_continuations(nghttp2_option*, size_t)
    void nghttp2_option_set_max_send_header_block_length(nghttp2_option*, size_t)
    void nghttp2_option_set_max_deflate_dynamic_table_size(nghttp2_option*, size_t)
    void nghttp2_option_set_stream_reset_rate_limit(nghttp2_option*, unsigned long long burst, unsigned long long rate)

    int nghttp2_session_server_new2(
        nghttp2_session**, const nghttp2_session_callbacks*, void* user_data, const nghttp2_option*)
    int nghttp2_session_client_new2(
        nghttp2_session**, const nghttp2_session_callbacks*, void* user_data, const nghttp2_option*)
    void nghttp2_session_del(nghttp2_session*)
    ssize_t nghttp2_session_mem_recv(nghttp2_session*, const uint8_t* data, size_t length)
    ssize_t nghttp2_session_mem_send(nghttp2_session*, const uint8_t** data)
    int nghttp2_session_want_read(nghttp2_session*)
    int nghttp2_session_want_write(nghttp2_session*)
    int nghttp2_session_consume(nghttp2_session*, int32_t stream_id, size_t size)
    int nghttp2_session_consume_connection(nghttp2_session*, size_t size)
    int nghttp2_session_consume_stream(nghttp2_session*, int32_t stream_id, size_t size)
    int nghttp2_session_resume_data(nghttp2_session*, int32_t stream_id)
    int nghttp2_session_set_local_window_size(nghttp2_session*, uint8_t flags, int32_t stream_id, int32_t size)
    int nghttp2_session_terminate_session(nghttp2_session*, uint32_t error_code)
    int nghttp2_session_terminate_session2(nghttp2_session*, int32_t last_stream_id, uint32_t error_code)
    void* nghttp2_session_get_stream_user_data(nghttp2_session*, int32_t stream_id)
    int nghttp2_session_set_stream_user_data(nghttp2_session*, int32_t stream_id, void* data)
    size_t nghttp2_session_get_outbound_queue_size(nghttp2_session*)
    uint32_t nghttp2_session_get_remote_settings(nghttp2_session*, int id)
    uint32_t nghttp2_session_get_local_settings(nghttp2_session*, int id)
    int32_t nghttp2_session_get_remote_window_size(nghttp2_session*)
    int32_t nghttp2_session_get_stream_remote_window_size(nghttp2_session*, int32_t stream_id)
    int nghttp2_session_get_stream_local_close(nghttp2_session*, int32_t stream_id)
    int nghttp2_session_get_stream_remote_close(nghttp2_session*, int32_t stream_id)
    int32_t nghttp2_session_get_last_proc_stream_id(nghttp2_session*)
    uint32_t nghttp2_session_get_next_stream_id(nghttp2_session*)
    int nghttp2_session_check_request_allowed(nghttp2_session*)

    int nghttp2_submit_settings(nghttp2_session*, uint8_t flags, const nghttp2_settings_entry* iv, size_t niv)
    int nghttp2_submit_response(
        nghttp2_session*, int32_t stream_id, const nghttp2_nv* nva, size_t nvlen, const nghttp2_data_provider*)
    # pri_spec: always NULL here
    int32_t nghttp2_submit_request(
        nghttp2_session*, const void* pri_spec, const nghttp2_nv* nva, size_t nvlen, const nghttp2_data_provider*,
        void* stream_user_data)
    int32_t nghttp2_submit_headers(
        nghttp2_session*, uint8_t flags, int32_t stream_id, const void* pri_spec, const nghttp2_nv* nva,
        size_t nvlen, void* stream_user_data)
    int nghttp2_submit_trailer(nghttp2_session*, int32_t stream_id, const nghttp2_nv* nva, size_t nvlen)
    int nghttp2_submit_rst_stream(nghttp2_session*, uint8_t flags, int32_t stream_id, uint32_t error_code)
    int nghttp2_submit_goaway(
        nghttp2_session*, uint8_t flags, int32_t last_stream_id, uint32_t error_code, const uint8_t* opaque,
        size_t opaque_len)
    int nghttp2_submit_shutdown_notice(nghttp2_session*)
    int nghttp2_submit_ping(nghttp2_session*, uint8_t flags, const uint8_t* opaque_data)
    int nghttp2_submit_window_update(nghttp2_session*, uint8_t flags, int32_t stream_id, int32_t increment)
    int nghttp2_is_fatal(int lib_error_code)
    const char* nghttp2_strerror(int lib_error_code)
    const char* nghttp2_http2_strerror(uint32_t error_code)
