// Package engine keeps galleries of people and decides who a template belongs to.
//
// It promises: a write that was acknowledged survives a crash of the process and of the machine, whole; a
// search sees every write acknowledged before it began; templates of different embedding spaces never meet;
// templates and metadata are never on disk in the clear. It refuses: vectors of the wrong length, not finite
// or without a direction; policies that state more than one rate; anything larger than the bounds below.
// It knows nothing of images, HTTP or files other than its store.
//
//	client's call ─▶ Engine ─ validate, seal ─▶ one Pebble batch ─ apply ─ fsync ─▶ memory ─▶ answer
//	                                            (the truth)                         (index: a cache)
//
// # The store
//
// One Pebble store in Config.Dir/store. Integers in keys are big-endian; strings are as the client gave them.
//
//	key                                              value
//	0x01 'f'                                         format version u32
//	0x01 'm'                                         a known text sealed by the master key: tells a wrong key
//	0x01 's'                                         sequence u64 of the last write; in every batch
//	0x01 'g'                                         last gallery number given out u64
//	0x02 tenant                                      the tenant's data key, sealed by the master key
//	0x03 keyid[8]                                    API key: sealed 0x01 ‖ JSON; the SHA-256 of its secret, no secret
//	0x04 tenant 0x00 gallery                         gallery: sealed 0x01 ‖ JSON with its number and space
//	0x05 gallery# u64  person                        sealed person record (record.go)
//	0x06 gallery# u64  person 0x00 template# u32     sealed template: float32[dim] little-endian, unit norm
//
// Person ids hold no control characters, so 0x00 ends one and no id's templates mix with another's. Person
// ids, gallery names, tenant names and key ids are in the clear; everything else is sealed: templates, metadata
// and provenance to hide them, galleries and API keys so that who can write to the disk but has not the master key
// can't make a key or turn a policy. Who can write to the disk can still put back what was there before: an
// older record of the same place, or the whole store. A client whose ids are themselves personal data should use
// pseudonyms. A gallery's number is never used again, so deleting one is two range deletions.
//
// # Sealing
//
// A sealed value is 0x01 ‖ key version u32 ‖ nonce[12] ‖ ciphertext ‖ tag[16]: AES-256-GCM with a random
// nonce. Its additional data are a label and the length-prefixed kind, tenant, gallery number, person,
// template number and space, then the key version: a row that is moved, or copied from another person, does
// not open. Each tenant has a random 32-byte data key, sealed by the master key. The key version is 1; the
// field is there for rotation. A data key seals at most 2^32 values with random nonces (NIST SP 800-38D), a
// bound that a tenant with a thousand million people and eight templates each would pass: rotation must be
// there before that.
//
// # Writes
//
// W1  A write is one batch with its sequence number, synced before it is acknowledged.
// W2  One writer at a time validates against Pebble, which shows earlier batches, and hands over its batch;
// the fsync is waited for outside that lock, so concurrent writers share fsyncs in Pebble's log writer.
// W3  Memory changes after the fsync, in commit order, by one goroutine: what a search can find is durable.
// W4  No answer rests on a record that is visible but not synced: reads compare the record's version with
// memory's, and refusals and lists wait for the writes in flight on what they read (settle).
// W5  A call whose context ends before its batch is handed over changes nothing; after that, the call
// returns an error that says that the outcome is unknown, and the write may still happen.
//
// # Searches
//
// S1  A search finds the gallery as it is at one moment between its begin and its end. The index promises less:
// of a person who changes meanwhile it may see some rows before and others after. So a gallery numbers its
// changes and remembers whose the last 4,096 were (changes.go); a search notes the number before it begins and
// afterwards takes those who changed since from their rows of that moment. If that is not enough it searches
// again, the fourth time with writers waiting (gallery.search).
//
// # Memory
//
// Templates live on the Go heap, 4 bytes × dim each (2 KiB at 512), in arrays without pointers: the collector
// does not read them, so a collection is quick, but it counts them. With GOGC at 100, the default, it runs when
// the heap has doubled: a million templates of dim 512 are 2 GiB, and the process may grow to about 4 GiB, of
// garbage such as request bodies, before it collects. Set GOMEMLIMIT to what the machine can spare, at least the
// templates and half a GiB more, and the heap stops there; or lower GOGC. A limit below what is live makes the
// collector run without end. Growing a gallery copies at most one segment of 1,024 rows. A deleted
// person's rows are cleared and used again; memory goes back when the gallery is deleted. Pebble's block cache
// and memtables (Config.CacheBytes and up to 64 MiB) are outside the Go heap if cgo is on, and inside it if not.
//
// # A disk that fails
//
// Pebble ends the process when it cannot write its log, and may break its store's locks if merely told
// otherwise (rotateWAL panics with a lock released that a deferred call releases again: Go's runtime ends the
// process). So it never learns: the file system beneath it (haltfs.go) answers the first failed write by
// parking that goroutine and every later one that would write. To the disk this is a process that stopped at
// that moment, the case crash recovery is made for; no lock that readers need is held. Writes then answer
// ErrStorageFailed, searches and reads go on, and a restart recovers. To make that rare, writes are refused
// with ErrStorageFull while the disk has less than Config.MinFreeBytes left; deletions and revocations, which
// free space, are let through to a quarter of that, and a store is not opened below it: replaying the log writes
// tables. A write that fails while the store is being opened ends Open with ErrStorageFull or ErrStorageFailed;
// Pebble alone would try again for ever.
package engine
