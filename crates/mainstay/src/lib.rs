//! Policies that keep a service answering while its parts fail: circuit breaker, retry with budget, bulkhead, timeout.
