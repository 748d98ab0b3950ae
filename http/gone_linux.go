package http

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// closedByClient reports whether the other side has ended its stream or reset the connection, also behind bytes that
// were not read yet: those of a pipelined request, or the farewell of TLS.
func closedByClient(socket syscall.RawConn) (closed bool) {
	const ended = unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR
	_ = socket.Control(func(fd uintptr) { // fails when the server has closed it itself
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		closed = err == nil && n == 1 && fds[0].Revents&ended != 0
	})
	return closed
}
