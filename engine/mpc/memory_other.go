//go:build !linux

package mpc

func askHugePages([]uint16) {}
