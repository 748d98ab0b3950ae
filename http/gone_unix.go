//go:build unix && !linux

package http

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// closedByClient reports whether the other side has ended its stream or reset the connection. An end behind bytes that
// were not read yet is not seen here, which the farewell of TLS is: those requests go on to their answer.
func closedByClient(socket syscall.RawConn) (closed bool) {
	_ = socket.Control(func(fd uintptr) { // fails when the server has closed it itself; sockets of net do not block
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
		closed = err == nil && n == 0 || err == unix.ECONNRESET
	})
	return closed
}
