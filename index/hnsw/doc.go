// Package hnsw is a scan with a graph over its rows: a hierarchical navigable small world (Malkov and Yashunin,
// arXiv:1603.09320), for galleries whose space has a structure that a graph can follow. Rows, codes, vectors, labels, files
// and what is alive are the scan's (package scan). The graph has nothing but links, so whatever it does, an answer is of
// rows that are there, with their exact scores; what it can do wrong is to miss.
//
//	search ─▶ rows that wait, one by one ─┐
//	       └▶ graph: ef best by int8 ─────┴▶ int8 ─▶ float32 ─▶ answer        (else the scan, see G4)
//	change ─▶ scan: visible at once ─▶ queue ─▶ linkers ─▶ graph ◀─ sweeps ◀─ rows that died
//
// It promises:
//
//	G1  What is removed is never returned, and what is added is in sight of the next search: a change is done when the scan
//	    has it. Rows wait to be linked in the background, and a search compares its probe with each of up to 1,024
//	    that wait; with more the scan answers. So no writer waits for links, and a gallery that is enrolled faster than it
//	    can be linked is searched by the scan until the graph has caught up.
//	G2  Every linked row can be reached from every other over links at level 0. That is so by construction (below), at any
//	    time but for the moment in which a sweep finds new parents (then the scan answers), and checked when a graph is
//	    read (graph.verify).
//	G3  No search waits for a writer. Links are read without locks.
//	G4  The scan answers with Options.Exact, where a filter passes less than a quarter of the rows, while more rows wait than
//	    G1 says, where more than 4,096 rows reach the threshold of a search for all, where the rows in sight have too
//	    few labels, where a walk comes by more than 512 and twice ef rows that don't count (twins, the dead, those that a
//	    filter takes out), while a sweep finds new parents, and if there is no memory for the graph. The first 1,024 rows of
//	    an index are compared exactly, and vectors of fewer than 64 numbers, so small galleries have no graph.
//
// What it misses depends on the gallery: README has the figures, Index.Check and `mien bench` make them, and
// Options.EF trades time for them.
//
// # Links
//
// A row has up to 2M links at level 0 and M at each level above, chosen by the paper's Algorithm 4 with pruned links kept:
// nearest first, if nearer to the row than to those chosen before, then the nearest of the others. Distances are of
// int8 codes; where the scan has fitted a basis, a search goes by the first 192 numbers, three lines of the cache, and
// all of them come at the end, for the ef best, as bounds that leave a few float32 vectors to be read, as in the scan.
//
// A row's links are stored as row + 1 in slots of fixed size, in blocks of 65,536 rows outside the heap: 4 × (2M + 2) bytes
// and 3 bits a row, 137 bytes at M = 16, and some 4 for the lists above level 0.
//
// # The tree
//
// Pruning can leave a row without any link to it, and that happens: Lucene found up to 3.7 % such rows in production
// (its issue 12627). So each row but one, the root, has a parent among its neighbours. The links between parent and child, both ways,
// are never pruned; a row has at most M children, half of its slots. From any row there is a way to the root, and from the
// root to any row. A new row's parent is the nearest of its neighbours with room. When a parent is taken out, its
// children find another among their neighbours that is not their own descendant; if none has room, by a search
// (Status.Rescued counts these).
//
// # Near-duplicates
//
// A thousand copies of one photo are each other's nearest neighbours, and fill every list of ef candidates, so that a
// search which comes by sees nothing else. A row that is linked near another at 0.98 or more, which two photos of a
// person hardly reach, is its twin: a walk goes through twins, and they are in answers, but they don't count as one of the
// ef.
//
// # Removal
//
// A row that died stays in the graph, as a way for others and for searches that still see it, until a sweep: after a second, or when
// 64 rows and a thousandth of all have died. A sweep takes out those that no search sees any more; rows that have died since keep their links, and
// the links to them. It finds parents for their children, goes over all lists once (0.1 s for a million rows), puts a dead row's neighbours, by the same heuristic, in its place, and
// lets the scan wipe the row and give it out again. Its order:
//
//	R1  The row is marked dead when the scan has it dead. Linkers that began before are waited for; later ones neither
//	    link to it nor choose it for a parent. One that died before it was linked is not linked, and compared one by one
//	    with those that wait until no search sees it.
//	R2  Its own links stay until it is born again: a search may be about to begin with it, and must get away.
//	R3  It is let go of when nothing leads to it. A search that still holds its number sees by the epochs that it is not
//	    its row, whoever has it by then.
//
// # Files
//
// The links are in the scan's cache file, after all else, sealed with it, as of the same moment: there is no graph beside
// rows of another time. They are not in Pebble, for three reasons. A change of one row rewrites the lists of some twenty others, so
// writing them with the truth would turn a batch of 2 KiB into 5 KiB and make every enrolment wait for its links,
// while a graph that lags is harmless here (G1). A list of row numbers means something only beside the table of rows, which is a cache.
// And what is in Pebble must be right, where a cache may be dropped: one that is damaged, of another format or M, or
// missing, is linked anew in the background while the scan answers. The price: after a crash, rows that were changed since the last Save
// are linked again, at some 2,000 a second and core. Package engine saves galleries that have come to rest, so that is
// not often all of them.
//
// Open reads a graph as it was; rows that were saved while they waited wait again, and those that had died are swept. Format 1: the header in JSON (savedGraph), then for
// each block links, parents, uppers and twins, then the lists above level 0. Integers are little-endian.
//
// # Auto
//
// With Config.Auto the scan answers until the index holds AutoAt rows; below, it takes a millisecond. Then, and at each
// doubling, 20,000 of the gallery's rows are linked in memory, and searched with 1,000 probes made of the gallery's own
// rows, at cosine 0.6 from their mates towards others. The graph is linked for the whole gallery only if it missed none of what the scan
// finds, and would take less than half of the time; and used only if that holds for the whole. Status.Why says what
// was found. Open begins with a trial where a graph was not saved, or can't be used. Identities of the default model's space are spread over a hundred directions, which a graph hardly
// follows: there the scan stays.
package hnsw
