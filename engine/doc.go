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
//	0x03 keyid[8]                                    API key: 0x01, JSON, SHA-256 of the secret, no secret
//	0x04 tenant 0x00 gallery                         gallery: 0x01, JSON with its number and space
//	0x05 gallery# u64  person                        sealed person record (record.go)
//	0x06 gallery# u64  person 0x00 template# u32     sealed template: float32[dim] little-endian, unit norm
//
// Person ids hold no control characters, so 0x00 ends one and no id's templates mix with another's. Person
// ids, gallery names, tenant names, key labels and roles are in the clear, in keys or values; metadata,
// provenance and templates are sealed. A client whose ids are themselves personal data should use
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
// # A disk that fails
//
// Pebble ends the process when it cannot write its log, and may break its store's locks if merely told
// otherwise (rotateWAL panics with a lock released that a deferred call releases again: Go's runtime ends the
// process). So it never learns: the file system beneath it (haltfs.go) answers the first failed write by
// parking that goroutine and every later one that would write. To the disk this is a process that stopped at
// that moment, the case crash recovery is made for; no lock that readers need is held. Writes then answer
// ErrStorageFailed, searches and reads go on, and a restart recovers. To make that rare, writes are refused
// with ErrStorageFull while the disk has less than Config.MinFreeBytes left; deletions and revocations, which
// free space, are let through to a quarter of that.
package engine
