//go:build !unix

package http

import "syscall"

// closedByClient notices nothing here: requests go on to their answer.
func closedByClient(syscall.RawConn) bool { return false }
