// Package load sends requests to a server by a schedule and measures how long each takes from the moment that it was due.
//
// It promises:
//
//	L1  The schedule is made without regard to the server: an arrival is due when it is due, whether those before it were
//	    answered or not. A rate of 0 is the exception: Concurrency senders who ask again when they were answered.
//	L2  A latency runs from the scheduled moment to the end of the answer. A stall of the server shows in the latency of
//	    everybody who came meanwhile, not in that of the one who met it alone ("coordinated omission": Tene, "How NOT to
//	    Measure Latency", 2013).
//	L3  No more than Concurrency requests are in flight. Who is due and finds none free waits, and the wait is part of the
//	    latency; Waits tells it apart.
//	L4  Everybody who was scheduled is in exactly one count: answered (2xx), refused (429 and 503), or failed. Latencies are
//	    those of the answered; the refused have their own.
//	L5  A request whose turn comes more than Timeout after its scheduled moment is not sent, and failed with the code
//	    not_sent; one that is sent has Timeout from then on. A backlog outlasts the schedule by twice that at most.
//
// Quantiles come from a histogram whose bins are 1/128 of their value wide; they are never below the true ones and at
// most that much above. The greatest is exact.
//
// # Limits, plainly
//
//   - Server and generator on one machine take processor time from each other: latencies near saturation are those of both.
//   - A scheduled moment is kept to some 0.1 ms on Linux by a timerfd, since a sleep of Go's is rounded up to the next
//     millisecond there (runtime/netpoll_epoll.go); Waits has what is left of it.
//   - HTTP/1.1 without pipelining: a request for each connection at a time.
package load
