// Program report makes a table and charts of what go test -bench prints.
//
//	make bench     # go test -run '^$' -bench … | go run ./bench/report
//
// It reads the standard format (golang.org/x/perf/benchfmt) on stdin and writes the machine and a table to stdout, and to
// build/bench the input as bench.txt, the table as bench.md and, as SVG and PNG each:
//
//	search     probes a second by rows, one at a time: bench's BenchmarkSearch
//	passes     probes a second over a million rows on one core by probes that share a pass over memory: simd's
//	           BenchmarkDotRows and BenchmarkScanSketch at 512 numbers or bits, from memory, by level
//	bandwidth  bytes a second by level: the kernels for one probe, from memory, beside BenchmarkSum, which only reads
//
// Of a benchmark that ran more than once the fastest run counts: what else runs on the machine only slows. A chart whose
// benchmarks are not in the input is left out. To compare two runs, give both bench.txt to benchstat.
package main
