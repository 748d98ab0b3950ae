// Program peers compares indexes over one gallery, in one run and one process, with what each finds beside its speed.
//
//	make bench-peers                     # with hnswlib and faiss (tag peers, cgo, Debian's packages)
//	go run ./bench/peers -rows 20000     # what is written in Go alone
//
// It prints a table and writes, after each peer, build/bench/peers.json, peers.md and for each gallery a chart of recall@10
// against probes a second, recall-VARIANT-ROWS.svg and .png. Every row has a label of its own: the latent galleries enrol
// photos 0 to 3 of a person, one after the other, and probe with photo 4, the others photo 0 and photo 1. Every search asks
// for the best 10. Columns:
//
//	build s     wall time of building, all cores where the peer can (coder/hnsw can't)
//	q/s 1, q/s 2  probes a second on 1 and on 2 threads: GOMAXPROCS, or OpenMP's and OpenBLAS's own number; the best of
//	            three measurements, in turns
//	recall@1    probes, of all, whose first answer is the exact best (bench.Exact, float32)
//	recall@10   of the exact best 10 of all probes, those among the 10 answers
//	B/row       bytes held for a row: what the peer's structures say, or the growth of the heap for coder/hnsw
//
// Who takes part, each with what suits it best:
//
//   - mien: whatever bench.Kinds names; of the scans 16 searches in progress, as a server has them.
//   - vek: a plain loop of viterin/vek's dot product; threads share the probes.
//   - coder/hnsw v0.6.1, the last tagged version. Its result list is as wide as what is asked for, whatever its
//     EfSearch, and is not sorted: so we ask for ef labels and take the best ourselves. Its distance is replaced by vek's
//     dot product, faster for unit vectors. It takes part up to 100,000 rows: adding is not concurrent.
//   - hnswlib 0.6.2, compiled with -O3 -march=native.
//   - faiss 1.7.3 as Debian builds it, without AVX2 of its own: IndexFlatIP does its products in OpenBLAS, which has it,
//     1,000 probes at a time. IndexBinaryFlat over the sign bits of rotated vectors (simd.Rotation): by distance alone, and
//     with the best 256 and 1,024 rescored by float32.
//
// All graphs are built with the same M and, but for coder/hnsw, which has none, the same efConstruction (-m, -efc), and
// searched with each ef of a list (-ef). hnswlib takes the better part of an hour for a million rows: -keep DIR leaves its
// graph there and takes it from there the next time. A kept graph's build time is what was measured when it was built, with
// the niceness of that process; above 0 it is no measure.
//
// OMP_WAIT_POLICY=passive, which make bench-peers sets, matters to faiss: OpenMP's threads would else spin while OpenBLAS's
// work, and IndexFlatIP ran at a fifth on two cores.
//
// The second digit is not to be trusted on a shared machine.
package main
