// Package index finds, among many vectors, those nearest to a probe.
//
// It holds vectors, row numbers and labels, and knows nothing of people, galleries or disks. A row is one
// vector; a label groups the rows of one person; a search answers with labels, each once, by its best row.
//
// [Scan] compares the probe with every row: exact, and the oracle for whatever follows it.
//
//	Scan ── segments ──▶ segment 0        segment 1        …            (copy on write, never shrinks)
//	                     ┌──────────────┐
//	                     │ RWMutex      │  guards the four arrays below
//	                     │ vectors f32  │  [rows × stride], stride = dim padded to 16, padding is zero
//	                     │ labels  u32  │  [rows]
//	                     │ live    bool │  [rows]
//	                     └──────────────┘
//	row number = segment × 1024 + position; a removed row is zeroed and its number is given out again
//
// Invariants, cited by tests:
//
//	I1  A search that begins after Add, Set or Remove returned sees its effect.
//	I2  Set replaces a row under one lock: no search sees the row absent. Two rows of one label are two locks:
//	    a search may see one before and the other after.
//	I3  A live row is finite, non-zero and zero in its padding; a dead row is all zero.
//	I4  Writers hold a segment's lock for one row (or one growth of a segment that is still below 1,024
//	    rows), readers for one segment, so a search waits for at most that.
package index
