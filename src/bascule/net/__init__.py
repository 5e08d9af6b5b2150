"""L6 net: epoll poller (the selector of asyncio), listeners, buffered streams, upstream pools, timers, DNS. Compiled
but DNS.
"""
