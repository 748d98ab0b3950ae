package main

import (
	"fmt"
	"syscall"
)

// forbidDumps keeps memory, which has keys and templates in it, out of core dumps and away from other processes of the user.
func forbidDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps can't be forbidden: %w; --allow-core-dumps goes without", err)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0); errno != 0 {
		return fmt.Errorf("the process can't be made undumpable: %w; --allow-core-dumps goes without", errno)
	}
	return nil
}
