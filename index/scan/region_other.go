//go:build !linux

package scan

func adviseHuge([]byte) {}
