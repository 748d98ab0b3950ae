package simd

// SumWords adds words modulo 2⁶⁴ with the widest loads there are and nothing else: the speed of reading memory, which
// benchmarks hold scans against. Allocates nothing. Safe for concurrent use.
func SumWords(words []uint64) (total uint64) {
	for len(words) >= SketchLanes {
		n := min(len(words), callBytes/8) &^ (SketchLanes - 1)
		total += sumWords(words[:n])
		words = words[n:]
	}
	return total + sumGeneric(words)
}

func sumGeneric(words []uint64) (total uint64) {
	for _, x := range words {
		total += x
	}
	return total
}
