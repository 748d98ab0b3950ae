// Package mpc compares faces that nobody holds. A template is three numbers a component that add up to it, modulo 2^32,
// and each of three parties has two of them: a replicated secret sharing. A party alone has noise. The three compute on
// what they have whether a probe matches a template, and what each gets is a share of one bit.
//
//	            probe's shares                          components 0 and 1, of template and probe
//	gateway ───────┬──────────────▶ party 0 ◀─────────┐
//	   ▲           ├──────────────▶ party 1 ◀── TLS ──┤  1 and 2     each link: a key that two have, and the third has not
//	   │           └──────────────▶ party 2 ◀─────────┘  2 and 0
//	   └── a share of each answer, from each party
//
// It promises what the invariants below say, as long as no two parties work together and the parties do what this
// package does. It refuses vectors of another length than a policy's, thresholds and dimensions with which a product
// could wrap, session ids that were used, peers whose key is not pinned, probes that fail a check, and attempts beyond a
// party's budgets. It knows nothing of images.
//
// # The claim
//
// What may be said of it, and no more:
//
//	Face templates used by the decentralised endpoints are split into random shares held by three separately keyed
//	processes. No single one of them, nor its disk, backup or memory, reveals the face. Matching runs on shares; nobody
//	computes the similarity in clear; the API host learns only accept or reject. The API host does see the selfie and its
//	embedding for the moment of extraction. Two colluding share holders can rebuild templates, and a share holder that
//	actively cheats can cause wrong decisions (not, by itself, read templates). As in any biometric system, very many attempts could
//	leak information through accept/reject; attempts are limited at every share holder. Shares are not hashes.
//
// Three parties on one machine, or under one administrator, protect against the theft of one data folder, backup or key
// and against nothing else: they are one trust domain. That there is no central database is true only where the parties
// have separate administrators, credentials and backups.
//
// # Who learns what
//
//	extractor         the image and the embedding, while it extracts           not templates, not other people
//	gateway           who asked for whom, the answers; in a search, who        not templates, not scores; not probes, where
//	                  matched                                                  a client made the shares (Envelopes)
//	client that       the answer that it is given; pseudonyms of whom it asks  not templates, not scores
//	seals             about, which it could tell a party
//	one party         the tenant's and person's pseudonyms, time, sizes,       not template, probe, score or answer; it can
//	                  model and policy; that probes' shares, or what the       guess an answer from whether the person tries
//	                  parties were told of them, differ; whether an            again
//	                  enrolment is carried out
//	party + gateway   both; probes, where the extractor is in the gateway      not templates, while the party follows the
//	                                                                           protocol: see "What it does not do"
//	two parties       everything                                               nothing is hidden from them
//	the network       who speaks with whom, when and how much                  what is said
//
// # The protocol
//
// A vector x of length 1 is encoded as qⱼ = round(xⱼ·S), S = 2^12 for a verification and 2^7 for a search. Party i has
// components i and i+1, of indices modulo 3. Addition of shares, and of a public number to component 0, need no
// message. A product does: the nine products of components are had by parties as xᵢyᵢ + xᵢyᵢ₊₁ + xᵢ₊₁yᵢ, so that theirs
// add up to it; each adds a share of zero (F(kᵢ) − F(kᵢ₊₁), of keys of its two links) and sends the sum to the party
// before it, and then again each has two components (Araki et al., CCS 2016, doi:10.1145/2976749.2978331). The same
// with AND for product and XOR for sum.
//
//	round  to the party before                                    what for
//	1      products and norms, and a tag of each probe            ⟨x, y⟩ and ⟨y, y⟩, shared; both holders of a component have the same
//	2 – 8  ANDs of all lanes, bit-sliced (msb.go)                 the sign of ⟨x, y⟩ − t, of the norm's distance from its ends, and of the
//	                                                              components' from the bound
//	9      sums of the checks' signs over random sets             64 are the verdict: 0, or random; one more is added to the answer
//	then   to the gateway: both components of answers, verdicts   the gateway XORs them, and compares the copies
//
// A search does the same with rows for items, at 16 bits: its products in round 1, their signs in rounds 2 to 7 beside
// those of the checks, and a round 10 for its answers, that each gets a sum of its own. The probe of a search is shared modulo 2^32, checked there, and then taken modulo 2^16 by each
// for itself.
//
// Bytes a party sends for one fully checked verification of 512 components: 40 in round 1, 114 ANDs of 19 words,
// 17,328, in rounds 2 to 8, 16 in round 9, and 32 to the gateway. A row of a search costs 8.5.
//
// # Invariants
//
// M1  Two of three components are drawn from crypto/rand, so that any two are uniform, whatever the vector.
// M2  What a party sends another is hidden by randomness under a key that the other has not: a share of zero from the
// links of the sender, of which the receiver is at one only. Tags (check.go) are the exception: the receiver has all
// that they are made of.
// M3  Nothing is opened but, to the gateway, the answers' bits, and of each probe a verdict: 0, or a random number that says
// that a check failed, and not which; then the answers are random too. No score, no norm, no margin. Parties have no output,
// so one that cheats learns nothing of what is computed by what it is sent, whatever it sends; what the gateway does next
// tells it a bit ("What it does not do") (privacy in the client/server model, Araki et al.; check.go).
// M4  A key is of one connection (TLS 1.3, no resumption; an exporter of it), and a session id is used once with it:
// each end refuses one that it has had, or that is more than 1,023 below the highest (Window). So no mask hides two
// things, also after a restart, and also if a gateway sends an id twice. A session runs once. A gateway counts its ids from the clock on, 65,536 a second, and
// believes no party of any that are more than a day ahead of it.
// M5  Dim·Bound² < 2^32 and |product| + |threshold| < 2^31, of a search 2^15: nothing that a check has passed wraps.
// M6  The norm's tolerance, S² ± 2 % and 2S, keeps a probe that is scaled from moving the threshold by more than 1.1 %,
// of a search by 2 %.
// M7  A party that finds a tag that differs, an unexpected frame or a silent peer says so to both neighbours and sends
// nothing more. Each round waits for the next party's message, so nobody is more than two rounds ahead of it and nobody
// comes to an answer, whether the word of it arrives or not. It is so for all items of a session. A probe that fails a check
// of the vector ends nothing, and its answers are noise (M3): of several people who are enrolled the others are, in the same
// transaction; of several verifications none is told.
// M8  What is said of a session before round 2 is compared: cluster, connection, operation, policy, threshold, checks,
// the number and order of items, person and generation, by the tags. Parties that were told, or configured, differently
// come to nothing.
// M9  Lengths are checked before memory is taken: of frames (64 MiB, and memory as bytes arrive), of frames held for
// sessions that are not open, of those that open sessions of a link have not received (256 MiB), of sessions of a link. A peer that does not take what is sent, or is silent, ends the
// link, and nothing else.
// M10 What parties send, in how many rounds and bytes, does not depend on a score (TestTranscriptTellsNoMargin), nor do their computations branch on one: products,
// ANDs and XORs of whole words. The gateway alone knows the decision, and does more for a reject than for an accept: it makes the count of rejects durable (N12).
// So time tells the decision, which is told anyway, and nothing of how near it was; no answer is held back to the end of a time bucket, as there is nothing to hide in one.
//
// # Parties and gateway
//
// A party (Party) is a process with a folder, a root key, a TLS key and a file of policies of its own. A gateway (Gateway) has a
// directory of who is enrolled, and coordinates. People have pseudonyms: a rid is an HMAC of the user id under the gateway's key.
//
//	Enrol:    BEGIN ─▶ PREPARE at all: check, durable, vote ─▶ COMMIT, durable in the gateway: decided ─▶ carried out by all
//	Delete:   tombstone, durable in the gateway: decided ─▶ DELETE at all: key and shares gone, tombstone, receipt
//	Refresh:  all draw a secret ─▶ stage new shares, compare hashes, durable, vote ─▶ decided ─▶ all change epochs
//	Repair:   the other two say of which version they are, and send the lost party's components, each what it is entitled to ─▶ Refresh
//
// N1  Every change of a store is one batch, synced before it is acknowledged. A vote is durable before it is given, a decision before anyone
// is told of it, an attempt before its answer leaves a party: some at once, set aside for a record, so that most answers wait for no disk
// (meters).
// N2  What a gateway has begun and not decided is aborted: it forgets it (presumed abort), and parties that doubt it ask when they are linked,
// and are asked every 30 s. What it has decided is sent to each party, in order, until that has carried it out; doing it twice changes nothing.
// Of a tenant's erasure that is so because nobody is enrolled in the tenant while it is owed to a party (erases).
// N3  A party that has voted for an enrolment never gives up by itself: the gateway may have decided. It waits, and asks its peers after
// DoubtAfter; one that has committed settles it, by a secret that it has of the gateway's COMMIT: the template that was voted for is named by its
// hash. So no party, nor two, can say that something was decided.
// N4  A party serves a gateway, on each link, from when that gateway has said that it has sent all that was owed: erasures of before come before
// verifications. What is erased later the gateway asks nobody about from the decision on. That it says the truth is its word: the parties know nothing of a
// decision that they were not told.
// N5  A record's generation grows with each enrolment, and a tombstone keeps it. So an enrolment from before an erasure is refused,
// whenever it comes, and an erasure of one that was replaced or erased before changes nothing. A gateway whose folder was
// put back from a backup learns of later generations as parties refuse its own: it enrols above them, and erases them where it has decided an erasure.
// Who was enrolled since the backup is not in its directory, and is verified and found once enrolled anew; an erasure of them asks the parties.
// N6  An enrolment is checked as probes are, whatever checks its policy has: the parties see that they hold shares of one vector, and the gateway,
// before it decides, that it is of norm 1, within the bound, and matches itself. Nobody puts it together for that. That the share for identification is of the same face is the gateway's word, or that
// of the client that sealed both.
// N7  A record's shares are sealed by a random key of their own (AES-256-GCM), that by the epoch's key encryption key, and that by the root key, in the
// file kek. An erasure removes the record's key, which compactions take out of the store's files within seconds, as
// an abort does; it overwrites the person's row in memory before the receipt is signed (rows of a tenant that is erased whole, and those from before
// a refresh, are left to the collector). Backups of the store are noise once
// a refresh has made a new epoch and the file kek has the old key no more, in backups of it neither.
// A party does not open a store whose keys are not in that file, and makes no new ones for it.
// N8  A refresh is committed by one small batch that names the epoch. It waits for nobody's decision: votes for enrolments are taken along. Two parties
// never compare shares of different epochs: the refresh's name is in the context (M8).
// N9  Budgets are each party's own, and count all attempts, as parties don't know what came of them. No refresh, restart, enrolment or erasure gives
// attempts back; a crash takes some. No window of a limit's length has more attempts than the limit; one counts for up to a 24th longer, and
// for two windows where the clock was set back. A repaired party begins
// with none counted: those of the other two hold. An identification is an answer about everybody of its tenant, so in no window are there more answers
// about a person, by verifications and identifications together, than Budgets.Record has: a verification is counted within what identifications,
// which have a budget for the tenant, can't use. So neither uses up what the other has.
// N10 A party is lost, and serves nothing until it is repaired, if its store is none that the gateway knew; or if its shares are of a version that neither of the
// others has, as after a folder was put back from before a refresh; or if it has neither record nor vote and both others have records. Its store says that a
// repair filled it, so other gateways, and one that ended meanwhile, go on with it. Nobody repairs a store of the version that the other two have. A
// folder from a backup of after the last refresh is not told from the one that was there: who was enrolled or erased since is refused or lacks a record. If it also
// lost a vote that was decided and not carried out there, the party stays away, and nothing is decided, until its store is made new and repaired.
// N11 A receipt is signed by a key of the party's store (Ed25519) and says, by pseudonyms, which template was erased when: that which the
// party's own store had under the person's, whatever it was told, and none where there was none. Two of three
// erasures destroy a template for good, as one party's share is noise: so Delete returns with two, after a while, and the third follows (N4).
// N12 After five rejects in a row the gateway locks a person for 15 minutes, and twice as long each time; an accept ends the count, and an
// erasure does not: who is enrolled again is still locked. It is
// durable before the answer is told, and answers that come at once are not told beyond it.
// What a party has counted of a person its administrator forgets on the stopped party (UnlockRecord), by their pseudonym, which the gateway's tells (Pseudonym):
// no request does it, so none of a gateway that was taken over. Two parties that are unlocked are not enough.
// N13 Canaries are people whom nobody is: the gateway draws their templates from its key, enrols two of them as others in each tenant that has people,
// and verifies them at random times, with probes of theirs and of strangers (CheckCanary, which the server calls: serve --canaries). They lock nobody,
// are found by nobody, and go when the tenant does.
// N14 Enrolments are of up to 256 people of a tenant at once (EnrolAll; Enrol has one): one BEGIN, one vote, one decision, each durable in one batch, so
// after a crash all of them are enrolled or none is. Who fails a check, or does not match themselves, is left out, and told. Where the parties
// don't have one vector, or a session fails, all is aborted, with nothing opened: the gateway begins anew with the others, in halves where it does not
// know who it was.
// N15 What is kept in memory to be quick is what the store holds: of a party, records that were verified last, open (openRecords); of a gateway, who
// was, without names (known). A write of somebody drops them before it can be seen, so none is served that was erased or replaced, and a party
// overwrites its shares once no session uses them, those of all at a refresh.
// N16 A request that enrols and comes again is not done again (Request, EnrolledBy): what it was is in the batch of the decision. It is known by its
// caller's name for it for 24 hours, the last 8 of a person; without a name, until the caller was told that it was done. After an erasure it is known that
// it was done, and not what came of it.
// N17 A party and a gateway tell each other what they must have alike (settings). Of another cluster a gateway asks a party nothing, and nothing is decided by a policy that
// is not the same at both, which M8 would see to anyway, without saying why.
//
// What is bounded: records that are open, 64 MiB, and people who are known, 65,536; a party does 512 requests at once, of 16 MiB at most; 64 strangers shake hands at a time, and
// then the oldest of the address that has the most goes; a gateway has one link, the newest; a gateway has one write of a person
// at a time. A rid is what the gateway says, and is refused only where it is zero, which in a receipt is a whole tenant; a tenant's own counts are
// apart from those of rids. A request that panics is logged, and ends alone. What is not bounded: budgets' rows, some 200 bytes for each pseudonym that was ever asked for and enrolled, stay.
//
// The gateway's folder is as needed as the parties': without its log, who votes for an enrolment when it is lost waits for ever (then a peer's
// commit settles it, or nobody's), and without its key nobody is found. It has no template. Several gateways may serve one cluster if no two have
// the same tenant.
//
// # Envelopes
//
// A client that has the embedding may make the shares itself, and seal each for its party (Sealing, HPKE with ML-KEM-768 and X25519). Then
// the gateway, the API host, sees neither photo nor embedding of such a request: who asks about whom, when, and what comes of it.
//
//	client ── Sealing: keys, pseudonyms, policy, until when ── gateway        once for many, until then
//	client ── three envelopes ──▶ gateway ── one each ──▶ party: open, take the nonce, check, go on as with shares of the gateway
//
// E1  An envelope opens at one party, in one life of it, for one cluster, tenant, person, operation and policy, until one moment: all of that is in
// HPKE's info. The parties agree on the nonce and that moment as on all else (M8), so envelopes of different requests come to nothing together.
// E2  A party takes a nonce once. It remembers those that it took until they expire, which is 10 minutes ahead at most, and takes no more than 2^20, then
// ErrBusy; what expires in a span that it has forgotten it refuses, wherever its clock goes. On disk there is nothing: a party that is started draws another
// instance, and no envelope from before opens. So a gateway can't have a face enrolled again that was replaced or erased, nor ask twice with one
// probe; it can hold an envelope back until that expires, and use it once. Clocks of gateway and parties may be five minutes apart.
// E3  What is refused before an envelope opens, or as it does not, is refused before an attempt is counted or anything is stored. What passes is
// checked in full, whatever checks the policy has: a client is not the extractor.
// E4  A gateway tries once with envelopes, where it would try again with shares of its own. A client that is told that a party is away makes new ones.
//
// What it is worth: the keys are told by the parties to the gateway over links whose ends are pinned, and handed to clients for their convenience. A client that
// believes them believes the gateway, which can give its own keys and read all. So mien party init prints each share key's pin, for clients to have from the
// parties' administrators, and Sealing.Pinned finds a gateway that lies; a gateway has the pins too (GatewayConfig.ShareKeys), against parties that
// were set up wrongly. What a client can't see is whose the pseudonym is: a gateway can have a probe compared with somebody else, or a face enrolled as
// somebody else. One that keeps the pseudonyms of its people sees that they change. Nobody proves who sealed an envelope (HPKE's base mode): a
// gateway can ask with probes of its own, as ever, and the budgets count them. That the two shares of an enrolment are of one face is the client's word. A share
// key that leaks opens the envelopes of its party that somebody has kept, which is one share: noise alone.
//
// # Why the checks
//
// They are against a gateway, or a client, that makes shares of something else than a face, to learn more than a bit at
// a time: a probe of another norm moves the threshold, so that answers bisect the score; components that wrap pass the
// test of the norm (512 components of 2902 have a square of 2^32 + 1.007·2^24); copies of a component that differ ask
// for single components of the template; different persons at different parties mix two templates. CheckNorm leaves the
// bound out, and with it the promise: it is for a gateway that has the extractor and is trusted with probes anyway.
//
// # What it does not do
//
//   - The parties are trusted to follow the protocol, each for itself; a single one that does not can turn answers
//     round: one that adds to its part of a product makes anybody match. It learns nothing of a template by that, but for
//     what others do then: it can make an enrolment, or a decision, depend on a question of its own about the face, and
//     sees whether the enrolment is carried out, or the person comes again; a bit each time. With a client, or a gateway, on
//     its side it has one for each attempt, and a better one than accept and reject: the sign of any linear function of the
//     template modulo 2^32, as it turns failed checks into passed ones too. With orthogonal probes some 130 such answers
//     give a direction whose cosine with the template is 0.40, 512 one of 0.80 (measured), and 600 no more than 0.90.
//     Only the budgets of the other two stand against that. As the source of a repair it can add to a component that it
//     shares with the lost party alone: the template is another then, and nobody reads it.
//     Copies that the gateway compares, and canaries, people whom nobody enrolled and whom the gateway tests the
//     parties with, find faults and cheating at random, not cheating aimed at one person. Proof against it costs 7 bits
//     an AND (Furukawa et al., EUROCRYPT 2017; Araki et al., S&P 2017), or a fourth party.
//   - Answers are an oracle. With probes of their choice, an attacker who has been accepted once at a cosine of 0.60
//     comes to 0.72 with 1,280 answers and to 0.97 with 5,110 (simulated, threshold 0.40). Only a budget of attempts
//     that the parties keep stands against that (N9), and as each row of a search is an answer, searches are in it. Who
//     raises the budget of identifications raises it for everybody of every tenant. Who is enrolled under two user ids,
//     or for two tenants, has two budgets. The gateway's lock (N12) is of verifications: searches go on.
//   - A search says who, not in which order: scores would be needed for that.
//   - Two parties that remain can't go on: the third's absence ends sessions. Any one party's disk can be lost: the
//     others have what was on it.
//   - Time and sizes are not hidden: how many rows a gallery has, how many items a session.
//
// # Speed
//
// BenchmarkVerify, BenchmarkVerifyInFlight, BenchmarkIdentify, BenchmarkProcesses, BenchmarkGatewayVerify and BenchmarkGatewayEnrol. Most of a verification
// is waiting and system calls, two thirds of its processor time with one in flight (a profile of mien bench parties: writes 17 %, reads 12 %, threads that
// wait and are woken, Go's sysmon among them, most of the rest); sessions in flight share them (writer). In a batch of 64 it is hashes for tags, products and
// masks, some 110 µs of processor time a verification at the three parties and the gateway together; records and people are not read from the disk again
// (N14), and memory is used again (room.go). Of a search, memory: 2·dim·2 bytes a row and party, once. Of a search among 100,000 of 512 components on two cores of an EPYC with
// AVX2, 44 ms of processor time at the three parties and the gateway, 28 are those products, which read 614 MB as fast as the memory gives them, 6 are
// what is sent and received, and the others mostly bits and masks (a profile of BenchmarkIdentify/tls).
//
// A party keeps 2·dim·2 bytes a row in memory, 2,048 at 512, and 24 for who is where; up to 16,384 rows in reserve a tenant (slabs). The first
// search of a tenant after a start or a refresh opens all its rows in the store. A record that changes costs the next search its own
// reading, and 44 bytes a row for the lists: 2 ms among 100,000 (listing).
package mpc
