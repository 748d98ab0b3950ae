// Package engine keeps galleries of people and decides who a template belongs to.
//
// It promises: a write that was acknowledged survives a crash of the process and of the machine, whole; a
// search sees every write acknowledged before it began, and the gallery as it is at one moment; templates of
// different embedding spaces never meet; templates and metadata are never on disk in the clear. It refuses:
// vectors of the wrong length, not finite or without a direction; policies that state more than one rate; anything
// larger than the bounds below; photos that don't pass a gate. It knows nothing of images, HTTP or files other than its own: a photo
// that it keeps is bytes to it.
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
//	0x01 'm'                                         a known text sealed by the store's own key: tells another store's key store
//	0x01 'k'                                         the keys below are in the key store (format 5); in stores without it the
//	                                                 master key seals what is said to be sealed by the store's own and the tenant's key
//	0x01 's'                                         sequence u64 of the last write; in every batch
//	0x01 'g'                                         last gallery number given out u64
//	0x02 tenant                                      the tenant's data key, sealed by a version of the tenant's key
//	0x03 keyid[8]                                    API key: sealed 0x01 ‖ JSON; the SHA-256 of its secret, no secret; what
//	                                                 narrows it (format 8)
//	0x04 tenant 0x00 gallery                         gallery: sealed 0x01 ‖ JSON with its number and space; while it is
//	                                                 being moved, also those of where it goes (format 2)
//	0x05 gallery# u64  person                        the person's key, sealed by a version of the tenant's key, and the person
//	                                                 record (record.go), sealed by the person's key (subject.go)
//	0x06 gallery# u64  person 0x00 template# u32     sealed template: float32[dim] little-endian, unit norm
//	0x07 gallery# u64  person 0x00 template# u32     sealed photo that the template was made of: 0x01 ‖ box 4 × float32
//	                                                 little-endian ‖ the bytes as sent (format 3; galleries that keep photos)
//	0x0c gallery# u64  due ms u64  person            nothing: who is due when (format 4)
//	0x08 tenant 0x00 sequence u64                    sealed block of audit records, under the first one's sequence: 0x01 ‖ hash of the
//	                                                 record before [32] ‖ records, each JSON and a line end (format 4)
//	0x0a 't' tenant 0x00 request[32]                 request that was done, under the HMAC of its name: sealed 0x01 ‖ JSON (format 10)
//	0x0a 'd' tenant 0x00 made ms u64  request[32]    nothing: when it was done
//	0x0a 'a' gallery# u64  person 0x00 request[32]   what a write of a person was answered (once.go)
//	0x0b gallery# u64  job[8] 0x00                   job: sealed 0x01 ‖ JSON (format 9)
//	0x0b gallery# u64  job[8] 0x01 result# u32       what the job has found of one person or two: sealed 0x01 ‖ JSON
//	0x0e tenant 0x00 0x01 kind 0x00 id               document: end ms u64, 0 for none ‖ sealed 0x01 ‖ JSON (format 11)
//	0x0e tenant 0x00 0x02 gallery 0x00 person 0x00
//	     kind 0x00 id                                nothing: the document is about this person
//
// Person ids hold no control characters, so 0x00 ends one and no id's templates mix with another's. Person
// ids, gallery names, tenant names and key ids are in the clear; everything else is sealed: templates, photos, metadata
// and provenance to hide them, galleries and API keys so that who can write to the disk but has not the master key
// can't make a key or turn a policy. Who can write to the disk can still put back what was there before: all rows that a
// person had between two writes of their templates, until the tenant's key is rotated, or the whole store. A client whose ids are themselves personal data should use
// pseudonyms. A gallery's number is never used again, so deleting one is six range deletions, or twelve while it is moved.
//
// # Sealing
//
// A value sealed by the store's or a tenant's key is 0x01 ‖ key version u32 ‖ nonce[12] ‖ ciphertext ‖ tag[16], one sealed by a
// person's key 0x02 ‖ nonce[12] ‖ ciphertext ‖ tag[16]: AES-256-GCM with a random nonce. The additional data are a label and the
// length-prefixed kind, tenant, gallery number, person, template number and space (a photo has none), then the key version: a
// row that is moved, or copied from another person, does not open.
//
// # Keys
//
//	root key ─▶ store key ─▶ API keys, galleries
//	   │
//	   └──────▶ tenant's key, versions ─▶ person's key ─▶ record, templates, photos
//	                     └──────────────▶ data key ─▶ what is of no single person; index files (I1)
//
// The root key is Config.MasterKey, or behind Config.RootKey. It wraps the keys of the first column, which are in the key store,
// a folder of its own (Config.KeyDir): a file for each tenant and one of the store's own (keystore.go). All other keys are in the store,
// each sealed by the one to its left. What is erased is erased by destroying keys, and a copy of the store has keys that
// something must still open: that is in the key store, which is small, and whose copies can be few and short-lived. The store
// without the key store is noise, also to who has the root key.
//
// K1  A person's key is random, made when the person is enrolled, in each gallery and in its successor, and anew when all their
// templates are replaced; it goes with the row that has it. So rows of before do not open beside rows of after, and those of
// somebody who was deleted do not open for who has the id next.
// K2  A person's key is held in memory while their rows are read or written, and nowhere else: no erasure has to look for one.
// K3  A tenant's key is durable before the batch that needs it: its file is written beside its place, synced, renamed, and the
// folder synced, while the batch is being made. A crash between the two leaves a key that nothing is sealed by; the tenant's next first
// write uses it.
// K4  What seals by a tenant's key does so in the turn (W2), with the newest version.
// K5  A key seals few values: a person's some dozens, far below the 2^32 that random nonces allow (NIST SP 800-38D); a tenant's one
// for each person that is put, and one for each person at a rotation.
// K6  A key file is replaced whole, and what was there is overwritten afterwards. It goes past the file system that parks writers
// (haltfs.go): who needs a key and can't have it is told, and nothing has changed.
// K7  A store of before format 5 gets its key store when it is opened: the key files first, then one batch that seals anew
// what the master key has sealed, data keys too. Its people have no keys of their own: their rows, under the tenant's data key, open
// until a write of the person seals them anew.
//
// K8  A rotation makes a version of the tenant's key, durably, and has it seal from then on; goes through the tenant's people,
// some hundreds in a batch, and seals each key by the new version, the record as it is; and when all of that is durable destroys the
// versions before in the key store. Doing it again changes nothing that is done, so a crash costs the way to where it
// was, and a start that finds two versions goes on. A person's version stays. People of before format 5 get keys of their own.
// K9  A destroyed version stays in memory for an hour: a list or an export that began before sees rows of before.
// K10  A tenant is erased by writing its key file anew without keys, which comes last while the batch is made that deletes
// all it has: a crash between the two is finished by the next start, which finds a tenant whose keys were destroyed.
// K11  A receipt of an erasure is signed with an Ed25519 key of the key store. It is not derived from the master key: it
// would change with it, and a RootKey gives no bytes.
// K12  The root key is changed on a stopped store: each key is wrapped by the new root key as well, file by file; when the new one has
// opened all of them as they are on the disk, what the store is opened with is switched to it; then what the old one wrapped is taken
// out, file by file, and overwritten as K6 says. So the old one opens everything up to the switch, and the new one from before it on. A start with
// the new one ends what was left undone; before the switch another attempt, with the same new key or another, takes it up. What root keys wrap,
// and nothing else, is written: the store does not change. Backups keep the key store of their time, and so its root key.
//
// What an erasure promises: nobody is found or read as soon as it is acknowledged. What is left in the files of the live store is sealed by a
// key that is only there, sealed; compactions remove both. What is in backups of the store is sealed so too, by a version of the tenant's
// key that is destroyed no later than Config.RotateEvery after it was made, and the time the rotation takes; then backups open only with
// a backup of the key store. So everything is gone after RotateEvery and the life of the key store's backups: with seven days
// each, after fourteen. Backup takes the key store along, so from its backups somebody goes by pruning only, unless it leaves that out (V6). It does not reach what was last written before format 5 and is in backups of before the first rotation: there the
// tenant's data key, which outlives rotations, sealed it. Index files hold sealed templates of who was erased until their slots are
// written again (C1); they are sealed by the data key too: do not back them up.
//
// Why a person's key is not in a row of its own: reads and lists of people run beside writes, and must not see a key of one
// moment and a record of another; and Open, which reads every record, would read twice as many rows. What that costs is that a
// rotation writes the records again with the keys, without sealing them anew.
//
// # Proofs of erasure
//
// ErasePersonProved and ProveErasure show, check by check, that nothing of the store answers for a person who was erased.
//
//	delete again ─▶ flush, compact the person's keys, wait for files to go ─▶ wipe and save the index ─▶ look everywhere ─▶ signed proof
//
// Q1  What a proof finds is in it, whatever it is: a check that finds something fails, and names the file. A proof has passed if all have.
// Q2  Reads come first: the person's rows in the store, in both spaces of a move, the retention index, answers to writes of them, results of jobs, documents about them; then what
// calls answer, searches by the person's own templates among it, by the index and exactly; then the index's files.
// Q3  Then the bytes of all files in the data folder and the key store, whoever put them there, are searched. A person's key is found
// wherever it is, for 65 bytes that open in its place with a living version of the tenant's key are one, and nothing else is (subject.go): so
// copies from before a rotation, and keys that were replaced, are found too, and no one needs to have noted anything down. Where the person was
// erased for the proof, the beginnings of all their sealed rows, noted before, are looked for as well. Records of Pebble's log that go over
// from one block to the next are put together. Files that come while others are read are read in turn.
// Q4  The same search looks for the key of somebody who is there, and the proof fails if it does not find that: a search that can't find
// anything proves nothing.
// Q5  Who was enrolled under the id since is another person: their keys are not those that the receipt names.
// Q6  Pebble's logs are deleted, and never written over for the next (logsAreDeleted): what is behind the end of a log, or waits to be used
// again, would be found otherwise. What that costs was within the noise of the disk it was measured on: 1,500 people with photos of
// 64 KiB, one writer: median 0.81 to 1.02 ms against 0.83 to 0.87; 16 writers: 9.4 to 11.8 ms against 10.0 to 12.2.
//
// What a proof does not say: what is in backups, which are sealed by another key and are not read, even below the data folder (Keys says when
// those end); what the process's memory has, where vectors of the erased are overwritten as their rows are, and blocks of sealed rows
// may be in Pebble's cache; and what the disk keeps. A deleted file's blocks are the file system's until it writes over them; flash moves
// what is written over, and file systems that copy on write, and snapshots of disks, keep it. What is there is sealed by a key
// that is there sealed by the tenant's. So a rotation of that, which destroys the version in the key store, is what reaches there; and
// where the key store is on such a disk too, destroying it is as good as the disk's own erasure is. A person who was last written before
// format 5 had no key: of them rows are looked for, and only by ErasePersonProved.
//
// # API keys
//
// A key has the rights of its role in its tenant, less what narrows it: galleries, an expiry, a rate, coarser scores. The engine
// says who a token is of and what a key is for; http asks, of every request, before it reads the body.
//
// T1  A token is stored nowhere, and its secret, of 256 bits, as a SHA-256 only: nobody can try that many, so nothing slower is needed.
// Who guesses learns nothing of ids, not by the time either; that a key was revoked or has expired is told to who has its secret.
// T2  A key never comes by more than it was made with, and makes none that may do more than itself (Key.MayMake, MayRotate). A
// bound on the rate is on each key it makes, not on all together.
// T3  A rotated key and its successor are one write: there is no moment without a key that works, and the old one has its end.
// T4  A program that doesn't know what narrows a key must not open the store: formats are raised for that.
// T5  A tenant has MaxKeys at most. For one more the one that ended first goes for good; its uses are in the audit.
//
// # Attempts
//
// Each exact score is a linear equation for a stored template, and each decision a bound on one. Config.Attempts bounds how many
// verifications of a person may fail in a window (attempts.go).
//
// E1  A failure is a score below the gallery's threshold, whatever policy the call names: one that lets everybody through would
// never fail.
// E2  Counting and telling are one step after the score is known: however many ask at once, no more than Failures are told. When they
// are used up a match is not told either.
// E3  A match takes no failure back, else who has one photo that matches asks between matches for ever. It is not counted, so who
// has one and is told exact scores is not stopped: what stops that is the key's scores (http).
// E4  Nobody's count is forgotten before its window is over, but by a restart. Identify and Duplicates name who is found and
// count nothing.
//
// # Writes
//
// W1  A write is one batch with its sequence number and its audit record, synced before it is acknowledged.
// W2  One writer at a time validates against Pebble, which shows earlier batches, and hands over its batch;
// the fsync is waited for outside that lock, so concurrent writers share fsyncs in Pebble's log writer.
// W3  Memory changes after the fsync, in commit order, by one goroutine: what a search can find is durable.
// W4  No answer rests on a record that is visible but not synced: reads compare the record's version with
// memory's, and refusals and lists wait for the writes in flight on what they read (settle).
// W5  A call whose context ends before its batch is handed over changes nothing; after that, the call
// returns an error that says that the outcome is unknown, and the write may still happen.
//
// W6  A write of a person under a Condition happens only if that holds of the person as the store will be when every earlier
// write has happened. Person.Version is the sequence number of the person's last write, so no two writes of one person leave
// the same (C2); the move of a gallery to another space changes none (M2, M4).
//
// # Requests that come again
//
// A client that has no answer does not know whether its write was done. BeginOnce takes a name for the request (Idempotency-Key, in http): if one
// of the same name went well before, its answer is told again, and else a record of it is in the batch of the write.
//
//	BeginOnce ─ done before? ─▶ its answer
//	     └─▶ call ─▶ turn: done meanwhile? validate; answer, sealed, and record ─▶ one batch with the write (W1)
//
// O1  A write and the record that it was done are one batch: after a crash a request that is tried again finds both or neither. It is looked for again in
// the turn, where everything is in order, so of equal requests one is done, whatever their clients see; an answer is told when it is durable (W4).
// O2  A name is of one API key of one tenant; it is stored as an HMAC under a key of the tenant, and so is what the request was: method, path, query and
// body. Another request under the name is refused (ErrOnceMismatch), and one whose like is under way too (ErrOnceRunning).
// O3  Only what goes well is kept, which may be a write that changed nothing. What fails is tried again by who sends it again.
// O4  An answer is sealed by a key that is made of a random one, of the name, and of the hash of the request; the random one is beside it, sealed by a
// version of the tenant's key. So an answer opens for who makes the request again, and not for who has the root key, the store and the key store but
// not the name. That is why a new API key's token is in its answer: who asks again gets it, or would have a key that nobody can use, and
// one copy more of the token is nowhere that opens without what that client alone knows. A name that can be guessed is worth nothing here: use random ones.
// O5  An answer to a write of a person goes when the person does: deleted, erased, due, with the gallery, or with its switch to another space, in the same
// batch. Then, and when the version of the tenant's key is destroyed (K8, K9: an hour after a rotation), a request is known to have been done and is
// not done again; its answer is gone (ErrOnceGone). So an erased person is in no answer, and in backups as long as in their own rows.
// O6  A record is kept for 24 hours. A tenant has 100,000 at most, of two or three rows each; in memory is their number. One more makes the oldest go, if
// that is ten minutes old: to refuse writes because of what is remembered of others would make an outage of a safety belt, and a client that gets no
// answer asks again within minutes. If it is younger the write is refused (ErrOnceFull): then it is not said to be done once and done twice.
//
// # Audit
//
// Each tenant has a log of who did what when, and of what was decided; AuditRecord says what is in a record. A record is a line of
// JSON that is written once and never again made from anything: in the store, in lists and in exported files it is the same
// bytes. So who checks a log needs SHA-256 and no key, encoder or knowledge of the members:
//
//	hash of record n = SHA-256("mien audit v1" 0x00 tenant 0x00 ‖ hash of record n−1 [32, zeros for n = 1] ‖ record n without a line end)
//
// An exported file is NDJSON; each line is exactly
//
//	{"format":"mien audit v1","tenant":"…","after":sequence,"hash":"64 hex digits"}    what it begins after; 0 and zeros: the first record
//	{"hash":"64 hex digits","record":{…}}                                              for each record, in sequence, none left out
//	{"end":true,"last":sequence,"hash":"64 hex digits"}                                which tells a file that is whole from one that was cut
//
// A1  The record of a write is in the write's batch: neither is there without the other. A call that changes nothing leaves no
// record of a write. What the engine does for itself, such as reading stored photos for a move, is not recorded, but for
// erasures: the call that began it is.
// A2  Records have the sequence 1, 2, … of their tenant; who has the turn gives it out, with the hash. The order is that of the
// writes (W2); the record of a decision has the time when it was made, and stands after writes that came in the milliseconds
// until its block was written.
// A3  A decision's record is in a bounded queue before the decision is told, and one goroutine writes what is in the queue as a
// block, one batch with one fsync, after 20 ms at most and the fsync of the block before. So a crash may lose the records of
// decisions of the last moments, some 50 ms on a disk that is well, though they were told; and never that of a write. With
// Config.Audit "sync" a decision waits for the fsync, and nothing that was told is lost. A full queue makes a call wait as long
// as it may, and then answer ErrAudit instead of what was decided.
// A4  A disk that is full or has failed takes no records of decisions. Then searches go on nevertheless, unless Config.Audit is
// "sync": people stand at doors. What is lost so is counted (AuditLost), logged, and, once the disk takes writes again without a
// restart, said by a record "audit.lost" in the log it is missing from.
// A5  Refusals are recorded by who answers clients, AuditRefusal, with the code that the client was told. Of who is not known there
// is no record: there is no tenant to keep it.
// A6  A record has ids of people, and of a score only the decade of its false match rate: not the score, which would make the log an
// oracle for who climbs hills, nor anything of a template, photo, box or metadata, nor the secret of a key. Erasing a person
// leaves the id in the log, for the log is the proof of the erasure: ids should be pseudonyms.
// A7  A list or export shows what is durable, and every write and decision that was answered before it began.
//
// What the chain does not show by itself: who holds the master key and can write to the disk can make a new chain, or cut the end
// off, and so can who puts back an older copy of the store. The head, sequence and hash, noted down elsewhere from time to time
// (AuditHead), shows it: the record of that sequence has another hash then, or is missing.
//
// # Retention
//
// A person may have an end (Retention): one of their own, the consent's, or that of the gallery's RetentionDays. Then the person is due.
//
// R1  Who is due is there for no call, from that very moment by the engine's clock: not verified, found, listed, read or changed; an
// enrolment under the id enrols somebody new. That does not wait for the erasure. A search's size, which decides its
// threshold, counts them until they are erased.
// R2  One goroutine erases who is due, as DeletePerson does, in both spaces of a gallery that is being moved, some dozens in a write; it
// looks every ten seconds, in the galleries whose next is due, so who is due is erased ten seconds later and as long as the disk
// takes for those before. A person whose end was changed meanwhile is not erased: the record decides, in the turn. Each
// erasure is recorded (A1), by the program "retention". Who was due while no process ran is erased after the next start.
// R3  The index of who is due (0x0c) has exactly those who have an end, and is written with their records, so a crash can lose
// neither.
// R4  What is erased is gone, so a clock that jumps forward by more than a minute, against the monotonic clock, is not believed
// for an hour: R1 holds, which the mended clock takes back, and nobody is erased. A machine that slept has jumped. A clock
// that is wrong from the start, by years, is believed.
// R5  Audit records are pruned by whole blocks, the oldest, never the newest (Config.AuditKeep). The same write records how many, and the
// sequence and hash of the last of them: what the first that stays follows. So an export that begins there still verifies, and
// shows that the server pruned and nobody else.
//
// # Documents
//
// APIs above the engine keep things of their own: sessions, settings, logs of what was delivered (Document). The engine stores, seals,
// expires and erases them, and knows nothing else of them.
//
// F1  A document is sealed by the tenant's data key, under its kind and id; it is read, changed and written in one turn
// (ChangeDocument), so two changes never lose one, and a change that refuses leaves what was there. A write that is
// recorded in the audit log is one batch with its record (A1), and with further documents that it makes (DocumentOptions.Also): a
// session's end with the messages that tell of it.
// F2  A document about a person is refused where the person is not there, and deleted in the batch that deletes the person: by
// DeletePerson, retention, the deletion of the gallery, a move that drops people. That of a tenant takes all documents.
// A person who is put anew in the place of one who was there keeps them.
// F3  A document that has expired is there for nobody; it is deleted by the sweep that erases people (R2), sixty-four in a write. Its
// end is in the clear before it, for the sweep, and sealed within it: the two must agree.
// F4  A tenant has MaxDocuments of MaxDocumentBytes; they are counted in memory, and not kept there.
//
// TenantSecret derives keys of tokens and signatures from the data key, so that they need no store: they end with the tenant.
//
// # Many people at once
//
// Import writes people in blocks of some 8 MiB: a block is one write. Its batch would go through Pebble's log, a memtable and
// several compactions; what goes to the store instead are sorted tables that it takes as they are (DB.Ingest): each template is
// written once where people come in the order of their ids, as Export gives them, and compacted later where they don't.
//
//	collect: check, normalise ─▶ seal templates, write tables ─▶ turn: records, sequence ─▶ Ingest ─▶ memory ─▶ report
//	                             (all cores, synced, in Config.Dir/tables)
//
// B1  A block is visible and durable whole or not at all: all its tables, that with the sequence number among them, are one
// ingestion, before which the log is synced: so it is not durable before what it was validated against (W2). It is durable when it is
// visible, and memory changes in commit order all the same (W3).
// B2  What is prepared outside the turn is prepared for people as the store showed them. Under the turn everybody's record is
// looked at again, unless all that the gallery was written meanwhile are blocks of this import with other people in them; if one is
// another by now, the block is prepared again there, when all writes are in memory.
// B3  A block has a person once: one that comes again begins the next block.
// B4  Each person appears in memory whole, at one moment, as by any other write (S1); people of one block may appear one after
// another. Nobody is told of them before all have.
// B5  Tables that no ingestion has taken are not the store's: Open removes them.
// B6  A graph links what is imported when the import has ended, in the background; the scan answers until then (hnsw.Index.Bulk).
//
// The audit log says of each block how many people it has made and replaced, in the same write, and does not name them; and of
// an export, before anything of it leaves, that it was made.
//
// An import waits while tables lie deeper than 12 over one another in the store's first level, so that reads stay short. Other writes wait
// for the memory of the blocks before them: some 0.1 s each.
//
// B7  An import puts what a file says: status, ends, consent, provenance. Of what it does not say a gallery's default of retention holds, and
// who is there keeps their status: a file that knows nothing of suspensions lifts none. The file's history is that of who is new, as much as
// the gallery keeps; who is there has one of their own, which goes on. Who is due is in no export, and is refused by an import.
//
// Export reads a snapshot, made while no write was under way: everybody as of one moment (W4). While it lives, the disk keeps what
// is erased meanwhile.
//
// # Searches
//
// S1  A search finds the gallery as it is at one moment between its begin and its end. The index promises that: it
// changes a person's rows all at once, and a search sees it as it is at one moment. Names are given afterwards; who
// was deleted in between has none, so the search is made again. That is bounded: the fourth leaves out who was
// deleted, and lacks nobody else (gallery.search).
// S2  A search that does not ask for IdentifyOptions.Exact loses a template that belongs into its answer with a
// probability of at most 1e-6 (index.DefaultMiss) where the scan answers. A graph loses more: how many is counted on a
// share of the searches that clients make (recall.go). Cosines are of float32 vectors either way.
//
// S3  A search that may list some people only (Filter; and, where somebody is suspended, every one that lists active people) gives the
// index the rows of those who pass, as of a moment before it looks. What was written meanwhile is put right afterwards: whom a write
// of the gallery since that moment was about (recentWrites) is left out of what the index found, and compared as they are now, at
// one moment. So the answer is of that moment, and a row that is another's by now lists nobody wrongly.
//
// What filters go by is in memory beside the rows (columns): the status, and of each field that the gallery names as filterable a
// 64-bit hash of its value, under a key of this process, in commit order with the templates. Metadata itself is in no memory. At
// 200,000 templates of dim 64 a mask takes a tenth of the time of a search without one, for a status; a quarter for one value of a field;
// as long for eight values of two. Measured on a busy machine: ratios only (BenchmarkFilter).
//
// # People
//
// Who is suspended keeps everything. Verify refuses them, whatever the score; Identify does not list them unless it is asked to; duplicate
// checks do, and say so, for somebody who is shut out and enrols again under another id is whom they are for. PutPerson leaves the
// status: enrolling again lets nobody in.
//
// A gallery may keep a history: what is known of up to MaxHistory templates of a person that PutPerson replaced. The templates themselves
// and their photos go when they are replaced: what nothing may search or return is better not there. A move drops the history of the old space.
// Of each template the record says when and of what it was made, the photo's unified score where that was judged, and the key that
// enrolled it; its space is the gallery's.
//
// A person of several templates scores the best of them, not their centroid. Measured on LFW (make fusion-faces, commit f5ba666: pack default,
// ten draws of which n photos are enrolled, all others are probes; each way at its own threshold for a counted FMR of 1e-4, the
// bounds are of the difference to the best score, 95 % over redrawn people):
//
//	                             n = 2                          n = 3                          n = 5
//	people                       540                            365                            189
//	mated, non-mated             16,440, 22.2 million           11,040, 14.9 million           4,840, 8.0 million
//	FNMR %, one photo            2.07 (340)                     1.96 (216)                     2.19 (106)
//	best score                   0.70 (115)                     0.56 (62)                      0.43 (21)
//	mean of scores               1.03 (169; +0.03 to +0.71)     0.59 (65; −0.14 to +0.22)      0.43 (21; −0.26 to +0.22)
//	centroid                     0.69 (113; −0.18 to +0.21)     0.44 (49; −0.26 to +0.01)      0.41 (20; −0.31 to +0.11)
//	weighted by unified score    0.77 (127; −0.14 to +0.37)     0.44 (49; −0.26 to +0.02)      0.37 (18; −0.32 to +0.10)
//	FMR where the pack says 1e-4 (one photo: 0.80e-4 to 0.82e-4)
//	best score                   1.50e-4                        2.08e-4                        3.06e-4
//	centroid                     1.11e-4                        1.22e-4                        1.46e-4
//
// Neither centroid is better or worse beyond chance, at 1e-3 neither, and weights add nothing on photos so alike in quality. A centroid would be a
// template of a new kind: made anew, with the search row, whenever one is added, deleted or moved, of no photo and so no unified score or
// provenance, and a photo under a wrong id would bend it where today it is a row to name. It saves n − 1 rows of the index, and its FMR stays
// nearer to what the pack states.
// That is the price of the best score: strangers reach the best of n templates up to n times as often as one. So the rates of a verification are the
// person's:
//
// N1  Verify decides by FMR/n where the policy states an FMR, and n is how many templates the person has that moment; the FMR that it returns is
// n times that of the best comparison, at most 1. The sum of n rates bounds the rate of any of n, however alike the templates are (Bonferroni): for photos of one face it is
// too careful, as counted above (1.5, 2.1 and 3.1, not 2, 3 and 5), and never wrong. FPIR is that of a gallery of n templates, as Identify's, which is nearly the same.
// N2  A similarity or cosine that a policy states is a score of the best comparison, whatever n, and so are those of a decision. Of one with n = 1 all is as it
// ever was. An FMR of 1 lets everybody through.
// N3  Failures are counted (E1), and the audit's bands are, by the same rates. So a template more makes a person harder to pass: whoever enrols another
// photo trades misses of the worst photo for a threshold that is stricter for all.
// N4  Compare knows one template of either side. Searches say by FPIR what they promise, of the whole gallery, which counts templates: it is true, however many a person has.
// An FMR in a policy of theirs, and the FMR of a candidate, is of one template, the nearest: the number of templates of who is found is not known before
// they are found, and a threshold of each one's own would order candidates by something else than the score. Jobs count pairs of templates and say so; findings compare two templates of
// one person.
//
// # Gates
//
// Who made a template of a photo may say what was judged of it (Template.Photo), and then the gallery's gate decides
// whether it is used: Gates.Enrol where people are enrolled, Gates.Probe where they are looked for. A call may ask for
// more than its gallery, never for less: whose key may search must not be able to let in what the gallery's owner shut
// out. A template without a photo passes every gate: nothing is known of the photo that it was made of, and who sends it
// answers for it. So a gate keeps bad photos out; it does not keep out who may enrol, and sends templates.
//
// Policy and gate are what UpdateGallery changes. A call goes by those that were durable when it looked.
//
// # Duplicates
//
// An enrolment, which is a person put or a template added, may be checked for people of other ids who are alike: DuplicatesWarn
// names them in the answer, DuplicatesReject refuses with them, as the gallery says or the call. The check is one with the enrolment:
//
// D1  It goes by everything that was enrolled before it in commit order, and by nothing that was not. So of two
// enrolments of one face under two ids, at one time, the later one in that order is told of the earlier: both can't pass.
// D2  A search does not see what is handed over and not in memory yet (W3), and nobody searches a million templates while
// all writers wait. So the check searches before it takes the turn, and in the turn compares its templates with
// those of every write of the gallery since the search began (recentWrites): who was found and is gone, or was
// replaced, does not count, and who came does.
// D3  What recentWrites keeps is bounded. If it has dropped what a check needs, or if one of very many who are alike is gone, the check
// is made again, from the search on.
// D4  In a gallery that is being moved, templates of either space are compared with those of that space.
// D5  The policy is GallerySpec.DuplicatePolicy, else FPIR 1e-3 at the gallery's size. As with gates, a call may ask for more
// than its gallery, for less only with EnrolOptions.Overrule, which http gives to admins: two people who are alike, such as twins, are
// enrolled by somebody who has looked at both.
// D6  A check errs as searches do (S2). A refusal names people of the gallery, whom who may enrol may ask
// for by Duplicates anyway; it is answered when all that it rests on is durable (W4).
//
// A person is no duplicate of themselves: all of their own templates are left out.
//
// # Moves
//
// A gallery is moved to another embedding space without a pause: StartMove gives it a successor, a gallery that no search
// finds, of the other space and under a number of its own, with an index of its own; FinishMove puts that in its place.
//
//	StartMove ─▶ searches: old space; writes: templates of either or both ─▶ FinishMove ─▶ searches and writes: new space
//	                                      └─▶ CancelMove ─▶ as before
//
// M1  Until the switch, what anybody is told of the gallery is of the old space, but for Gallery.Move and Person.Moved.
// M2  The successor has the people who have templates of the new space, and those only; each is in the old one too. A write
// of a person is one batch for both, and metadata, times and version are the same in both: the switch changes none of them.
// M3  Who is put with templates of the old space alone has none of the new one afterwards: what a person has of it is never
// of an earlier truth. Who is put with templates of the new space alone keeps those of the old one, which nobody could
// search by otherwise; that is what enrolling again by templates is. A template that is added in one space is in
// that space only: whoever has at least one of the new space counts as done. Template numbers are counted on for both
// spaces together; what one write adds to both begins with the same number in both.
// M4  The switch is one batch: the gallery's record with the successor's number, space and policy, and the deletion
// of all that is under the old number. It is made when everything before it is durable and in memory, so who has no
// template of the new space is known; unless the caller drops them, there is nobody. A crash leaves the gallery in the one
// space, with its move, or in the other, with everybody whose write was acknowledged.
// M5  A call that meets a switch, or the begin or end of a move, is made again with what is there then: a write whose view
// of the move is not the store's changes nothing (errMoved), and a read that failed, or saw the deletion of M4, looks whether
// the gallery is another one by now. A search that has begun in the old index ends in it, wholly in the old space. A
// template of the old space is refused after the switch, with ErrSpaceMismatch, as one of the new space is before it.
//
// The move costs the successor's memory and disk besides the gallery's until the switch; what was its own then goes as
// with a deleted gallery.
//
// # Photos
//
// A gallery may be made to keep photos, for good; no other has any. Then a template that was made of one (Template.Photo with
// an Image) has it stored beside it. No call returns a photo, and no message names one: they are there so that the gallery can be
// moved again without its people. A template that was sent as a template has none.
//
// P1  A photo is there exactly as long as its template: both are written in one batch, deleted in one, and the person's record says
// which templates have one. Memory knows nothing of photos; Open does not read them.
// P2  While a gallery that keeps photos is being moved, the photos of who is not done are read one at a time, in the background, by
// Config.Extract, for the face that was enrolled, and the templates put into the successor, with copies of their photos, sealed for
// there: the disk holds them twice until the switch. Who has several templates gets as many as there are photos that can be used;
// with one, the person is done, and templates without a photo don't go along. Who has no photo waits to be enrolled again.
// FinishMove stays the caller's. No gate is applied: the photo passed when it was enrolled, and the gallery's gate of today is for
// the photos of today.
// P3  What is made of photos is put only if the person's version is still that of when the photos were read, and is not done
// otherwise; else the photos are read again. It changes nothing that a client was told of the person: the successor's record has
// the version, times and metadata of the old one, and each template the number, time and source of the one whose photo it was
// made of. Such a number is new in the successor: only PutPerson takes a person out of it, and gives new numbers to what it puts.
// P4  The work ends with the move or the engine, and no later than Config.Extract obeys its context. It is begun anew by Open. Who
// waits, and who has photos that can't be used, and why, is in memory only; a change of the person has them looked at again.
//
// Compactions of the store write photos again, as all else. A batch takes twice its size off what was free on the disk when
// it was last looked at, so many large photos are refused in time too.
//
// # Jobs
//
// A job looks at a whole gallery in the background: StartDedupe's finds all pairs of people with templates at or above a
// threshold, and references that look wrong. Jobs run one at a time, the oldest first, in one goroutine.
//
// J1  People are looked at in the order of (version, id). The job's record says who was last, and is written with what was found up to
// there, every two seconds and in one batch; so a job goes on after a restart, with nothing lost or counted twice. When nobody
// is left, those who have changed meanwhile have higher versions, and are next; so at the end every pair of people who were not
// changed after the job last looked (Job.Covered) was compared, both as they are. It comes back so eight times at most.
// A search names only who has not changed since the round began, so that what was compared is what they have.
// J2  What a job has written is in memory at hand-over, not after the fsync: the next write, which may delete a person whom it names, must
// know of it. Who reads it waits for the writes in flight before the answer (W4).
// J3  A result is written only if its people have, as the store will have them, the versions that were compared. It is deleted in the batch that
// deletes one of its people, and it is returned only while their templates are those (the next template's number, which every change
// of templates raises). So who is erased is in no result, whatever runs meanwhile; metadata may change without hiding what was found.
// J4  A job is of one gallery in one space: it is deleted with the gallery, and by FinishMove, in the same batch.
// J5  Two people who were there when a job's first run began, and whose rows have been numbered since as they were, are compared once: by
// whoever has the lower row first (index.Query.From). All others are compared both ways. A run after a restart takes nothing of the
// order of rows for granted.
// J6  A job works in one goroutine, some half a millisecond at a time. Then it waits while a search or a verification is being answered, at
// most nine times as long as it has worked since: under searches without end it has a tenth of a core, and without any one core.
// J7  Bounded are the jobs of a tenant (MaxJobs), the pairs (the best are kept: the threshold rises with the last of them), the findings,
// and how many people one template is paired with by its own search.
//
// A pair that belongs into the result is lost as S2 says; searches are by the scan whatever the gallery's index. Results are sealed by
// the tenant's key and name people by their ids: they are personal data, and in the store's copies until those go.
//
// # Search indexes
//
// A gallery's index (package index/scan, or index/hnsw, as its kind says) is made when the store is opened, from what was
// saved of it, or from all its templates, which several goroutines open (loader.go), and changes with memory from then on
// (W3). It is a cache: Pebble is the truth. What it has in files is in Config.Dir/index, a folder for each gallery number
// that has more than 1,024 templates; with a file system other than the disk it has none, and keeps in memory what would
// be there.
//
// I1  A file is sealed with a key of its own: HKDF-SHA-256 of the tenant's data key, for "mien index v1" and the
// gallery's number. Without the data key it is noise.
// I2  The folder goes when the gallery is deleted, once its last search has ended, or when the store is opened next.
// I3  An index whose file is damaged, or that could not take a change, having no memory, is made anew from the store
// by the call that finds it so, which then runs again (repair.go). If that does not help it answers
// ErrStorageFailed. What a search does not read it does not find damaged.
//
// # Graphs
//
// An index of kind hnsw is a scan with a graph over its rows, and one of kind auto has a graph once it has found out that
// it is worth it (hnsw.Config.Auto). A link is the number of a row, and nothing else: whose a row is, whether it is there,
// and its codes and vector, it is the scan that says. So a graph that lacks a link makes searches find less, and none finds
// what is not there, or somebody in another's place.
//
// W3 holds as it does for the scan. Replace changes the scan's rows at one moment. A new row waits from before that
// moment to be linked, which goroutines of the index do in their time: a search compares its probe with the rows that wait one
// by one, and is answered by the scan while they are too many. A row that was removed is in no answer of a search
// that begins later, though links lead to it until a sweep takes it out; only then is it given out again. Replace waits
// for neither, nor does the commit loop, which calls it.
//
// # Saved indexes
//
// The index of a gallery of more than 1,024 templates is saved (cache.go) by Close, after the last write, if the gallery
// changed, and by an Open that had to read more than an eighth of its templates, before anybody writes; and while the engine runs
// when the gallery has rested for ten seconds after an eighth of its templates, or of its graph's links, have changed
// (saveIdle): writers wait meanwhile, for 0.3 s with 200,000 templates of dim 512 and in proportion with more, and
// searches don't. A gallery that never rests is saved by Close only.
// What is saved is beside the vectors, in the file "cache", sealed by the same key: the codes, and for each label the
// person and the version, which is the sequence number of the write that made the person's record (owners). There is
// no log of changes. Open reads the records of all people, keeps the rows of those whose version is still the saved one,
// removes all others, and reads the templates of who has none then.
//
// A process may end at any moment after a Save, and the vectors file has been written to since, so why does a row that is
// kept hold a template of that person, and no one else's?
//
// C1  A row that is somebody's is not written. Its slot in the vectors file is written when it is given out, and when it
// is free again; it is freed in memory only, by a change of its person's templates or a deletion. Save holds the rows
// as they are then, and syncs the vectors before it replaces the cache file.
// C2  No two durable writes of a store have one sequence number, but for blocks of decisions' records, which touch no person: it is
// counted up under the turn, is in every batch, and goes on from there after a restart. So no record of a person ever has a version again that another had, a record of
// somebody who was deleted and enrolled again included. What is made of stored photos has the version of the record that it is put
// beside (P3): in the successor there was none of that version, for who is taken out of it gets another by that. A number is given out twice only if its first write was lost in
// a crash; that one was not durable, so it never was in memory (W3), and no saved index names it.
// C3  A change of a person is in memory only after it is durable: by its fsync (W3), or, if Open found it in the log, by
// the flush that Pebble waits for there. So if a person's row was freed since Save, the store has the person in another
// version, or not at all, and never in the saved one again (C2). Turned round: whoever the store has in the saved
// version has had no durable write since, so the rows were not freed, and by C1 hold what they held, on disk too.
// C4  Open, by itself or crashing in the middle, writes only to rows that C3 does not keep: it frees those of people whose
// saved version is gone for good, and gives out free ones. So after any number of starts from one saved file, C3 holds
// for it still.
// C5  A saved index is not used if it is of a later write than the store's last, does not open (another gallery's, dim,
// key or format; damage) or does not add up. Then the index is made anew, and one line is logged. It has a new id, with
// which its vectors are sealed: the rows of an index of before do not open beside it, which is damage (I3).
//
// A graph is saved with the codes, as of the same moment, and C1 to C5 hold with it, because its links name rows only. The
// rows that Open removes (those of people who changed or are gone) it removes by Replace, before anybody searches, and so
// from the graph; the rows it reads wait to be linked, as at any other time. A graph that is damaged, or missing, as
// from an index that was saved as a scan, is linked anew in the background while the scan answers. Linking is the dear part
// of such an index: minutes for a million rows. So Close saves an index whose graph has grown since, though
// its gallery may not have changed; killed before, the process leaves its links to be made again by the next.
//
// C3 needs a store and an index of one history. Saved by Close, an index notices a store that was put back from before
// (C5). After a crash, slots of the vectors file may be of a later moment than both the store that is put back and the
// cache file: such slots don't open, as the cache file has a part of each one's tag (index/scan), and that is damage (I3). What an
// index need not notice is that it is, whole, out of another copy of the store, which went its own way. So who puts back
// a store without the index of that moment removes Config.Dir/index.
//
// What is saved is of the moment of Save: codes of people who were deleted since are in the file, sealed, until it is
// saved next or the gallery is deleted. After a crash, slots of rows that nobody has may hold sealed templates of people
// whose rows were given out after Save; opening the index overwrites them.
//
// A template whose person is unchanged is not read from the store by Open: damage to it there shows when it is read next,
// to make the index anew.
//
// # Memory
//
// A gallery of up to 1,024 templates has them on the Go heap, 4 bytes × dim each (2 KiB at 512). Above that it takes,
// outside the heap, some 640 bytes a template at dim 512 (short codes, and a byte for each number), in segments of
// 65,536 of which only what is used counts, and 4 bytes × dim and 28 a template in its file, of which the system
// caches what it has room for. A graph takes some 140 bytes a template more, outside the heap. People take some 150 bytes of heap each, their ids included. A million templates are
// 0.65 GB outside the heap and 2 GB of file. GOMEMLIMIT bounds the heap only: leave room for the codes beside it.
// A deleted person's rows are wiped and used again; memory and file go back when the gallery is deleted. While an
// index is made anew, both it and the old one are there. Pebble's block cache and memtables (Config.CacheBytes and
// up to 64 MiB) are outside the Go heap if cgo is on, and inside it if not.
//
// # Backups
//
// A backup is the store's files as of one moment, sealed into a folder by package backup, which says how; the search indexes are not in it. It is made
// while the engine serves:
//
//	flush ─▶ no write under way: link the tables, copy the log ─▶ writers go on ─▶ seal what the folder has not ─▶ manifest
//
// V1  A backup holds exactly the writes up to the sequence number that it states, each whole: the files are linked while there is no
// write between validation and memory (whileQuiet), so every write that was acknowledged before is in, and none that began after. Writers
// wait for that, some milliseconds; searches don't.
// V2  A backup that fails, for want of room or a disk that does, is no backup, and harms neither those of before nor the store: what is
// staged in Config.Dir/backup.tmp is not the store's, and a write that fails there halts nothing (haltFS.aside). Staged links keep
// tables on the disk that the store has let go of; they go when the backup has ended, or with the next Open.
// Wrapped keys that are in Config.Dir/keys are copied at that moment too.
// V3  Restore writes to Dir/restore.tmp and moves the store to its place last, when all of it was found right and is durable. Open
// refuses a folder where that did not end (ErrHalfRestored), rather than to begin an empty store there.
// V4  What was restored has no index (C5), and its sequence numbers go on from the backup's: the two histories have nothing in common from there on.
// V5  A backup folder's key is BackupKey, made of the master key, unless it is given one of its own. The store in it is sealed under the master key of the
// time of the backup in either case: keep that as long as the backup. Without it a backup is noise, also to who has the folder's key,
// but for ids of people and names of galleries.
//
// V6  A backup may leave out the key store (Config.BackupWithoutKeys). Then it opens only with a copy of that which is kept apart, from
// when the backup was made or later, as long as the tenants' keys have not been rotated: an erasure of a tenant reaches such a backup at once,
// for what is restored finds that the tenant's keys were destroyed, and ends it; and the erasure of a person by the rotation that follows,
// once no copy of the key store from before that is left. A backup from before a rotation opens with a copy from before it, and with no other,
// so copies of the key store must be made as often as rotations, and live as long as restoring must be possible: a week, say. With the key
// store in the backups (the default), copies of them alone can be restored; then pruning is what erases from them.
//
// Who was deleted is in the backups of before until they are pruned, and a backup that is put back brings back the people who were
// deleted, and the API keys that were revoked, since. Keep backups no longer than deletion may take, and repeat the deletions after
// a restore.
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
//
// # A disk that damages
//
// Every block of Pebble's tables and every record of its logs has a checksum, and every value is sealed in its place, so what is read is what
// was written, or an error. Nothing that does not open is passed over.
//
// X1  A file that is found damaged is named in the log, by number and never with a key of the store, which may hold an id. The call that met it
// answers ErrCorrupt, and Ready does from then on; what does not need that block works. Pebble can't compact a damaged table: writes go on
// until they stall. The remedy is a backup; Backup copies files as they are, and verifying with the master key opens what is in them.
// X2  A gallery that can't be loaded does not keep the others from being served. It is listed as Damaged, every call about it answers ErrCorrupt and changes
// nothing, and it can be deleted. Damage to what all galleries need (format, tenants, API keys, galleries' records) keeps the store from opening.
// X3  Damage to an index, which is a cache, costs time only (I3, C5).
//
// # Threats
//
// What is worth attacking: templates, which nobody can change, and photos that are kept; metadata, consents and who was looked for
// when; API keys and the root key; and the decisions, to be let in as somebody else, to be enrolled twice, or to have somebody shut out.
//
//	who                               what stops them                                                    what does not
//	without a key, on the network     TLS, loopback without it; secrets of 256 bits (T1); bounds on      floods beyond what the machine can refuse: have a
//	                                  connections, bodies, time and failed keys (http)                   network in front that can
//	a matcher's key: guesses a        attempts of a person (E1 to E4), the key's rate, the audit         a restart forgets attempts; whoever fails on purpose
//	face, climbs a hill               log, scores of the key: decision                                   locks the person out; who has a photo that matches and
//	                                                                                                     exact scores (E3); identify is bounded by the rate only
//	an enroller's key: bad            gates, duplicate checks (D1 to D6), the audit log                  templates that were made elsewhere pass gates; what
//	references                                                                                           photo a template is of nobody can tell
//	a client's key, of another        its dialect, its one gallery; the audit log: a template that is    templates in the clear, from a dialect that has them
//	vendor's API                      read is a record before it is told                                 (youverse), for keys that are told exact scores
//	an admin's key                    its tenant, its galleries (T2); the audit log; other tenants'      all of its tenant: export has templates in the clear
//	                                  names answer as names that nobody has (http)
//	with a photo or mask before       gates with liveness, a risk signal (extract)                       most good prints and screens; masks, injected video
//	the camera
//	reads the disk, or a stolen       sealing (K1 to K12), each row in its place                         ids of people and names of galleries; sizes and times
//	backup
//	writes to the disk                rows don't open elsewhere, nor records that were forged; the       older rows of a person, or a whole older store and log,
//	                                  audit chain against a head that was noted down elsewhere           put back: nothing notices until a rotation (K8)
//	has the root key and the disk     nothing
//	reads the process's memory        no core dumps (cmd/mien)                                           searches need vectors in the clear
//	a damaged or hostile photo,       decoders that are bounded and fuzzed (extract/jpeg, http,          ONNX Runtime's own faults: run the packs that you trust
//	file of people, cache or backup   engine/transfer, engine/backup, index); checksums and seals
//	the operator                      nothing here; people who are enrolled with three parties            whoever administers two of the three; who is
//	                                  (engine/mpc) have no template in this store                          enrolled, and what was decided of them
//
// An erased person is gone from answers at once, from files as section Keys says, and stays in the audit log as an id (A6).
package engine
