package engine

import (
	"encoding/json"
	"time"
)

// Role says what a key may do; http holds the table of operations.
type Role string

// The roles, from most to least powerful. An auditor reads records but never biometrics. A client speaks another vendor's API, which
// enrols and matches in the one gallery that its key names, and nothing else.
const (
	RoleAdmin    Role = "admin"
	RoleEnroller Role = "enroller"
	RoleMatcher  Role = "matcher"
	RoleAuditor  Role = "auditor"
	RoleClient   Role = "client"
)

// Scores says how much of a score the holder of a key is told. It is http that leaves out the rest.
type Scores string

// What a key's answers tell. With less than exact scores a request's policy is the gallery's: who may choose the threshold of
// every question finds the score by halving.
const (
	ScoresExact    Scores = "exact"    // cosine, similarity, rates and threshold; what "" means
	ScoresRounded  Scores = "rounded"  // the similarity, to two decimals
	ScoresDecision Scores = "decision" // match or not, and who
)

// Key is an API key as the store knows it: never the secret, only its SHA-256.
type Key struct {
	ID       string    `json:"id"` // 16 hex digits, the public part of the token
	Tenant   string    `json:"tenant"`
	Role     Role      `json:"role"`
	Operator bool      `json:"operator,omitempty"` // may make keys for every tenant
	Label    string    `json:"label,omitempty"`
	Created  time.Time `json:"created"`
	Revoked  time.Time `json:"revoked,omitzero"` // zero while the key is good

	Galleries []string  `json:"galleries,omitempty"` // as in KeySpec; shared, not to be changed
	Expires   time.Time `json:"expires,omitzero"`    // from then on the key is useless; zero: never
	Rate      float64   `json:"rate,omitempty"`      // requests a second; 0: the server's default
	Burst     int       `json:"burst,omitempty"`     // requests at once
	Scores    Scores    `json:"scores,omitempty"`    // "" is exact
	Dialect   string    `json:"dialect,omitempty"`   // the API that a client speaks
	// RotatedTo is the id of the key that RotateKey made in this one's place, RotatedFrom the other way round.
	RotatedTo   string `json:"rotated_to,omitempty"`
	RotatedFrom string `json:"rotated_from,omitempty"`
	// LastUsed is when the key was last used since this process began, to the minute; zero: not since, and where
	// Authenticate returns the key. It tells whether a rotated key is still in use. It is not stored: the log of requests and the
	// audit have the uses of a key, and a write on the way of every request is too dear for a note.
	LastUsed time.Time `json:"last_used,omitzero"`
}

// Space is an embedding space that galleries may be fixed to.
type Space struct {
	ID          string
	Dim         int
	Calibration Calibration
}

// Template is one embedding: Vector is float32[dim] of the space, any non-zero finite norm; the engine
// normalises a copy and retains nothing.
type Template struct {
	Space  string
	Vector []float32
	Source string // where it came from: "image" or "template"
	Photo  *Photo // what gates look at; nil for what came as a template, which no gate refuses
}

// Policy is how a score becomes a decision: at most one field is set, none means the default of the
// operation (verify and compare: FMR 1e-4; identify: FPIR 1e-2; duplicates: FPIR 1e-3). A rate is of what the operation decides
// about: of Verify, one person with all their templates, and FMR and FPIR are nearly the same; of searches and jobs, FMR is of one
// template and FPIR of all that are searched. Similarity and Cosine are of one comparison, always.
type Policy struct {
	FMR        *float64 `json:"fmr,omitempty"`        // false match rate, (0, 1]
	FPIR       *float64 `json:"fpir,omitempty"`       // false positive identification rate of one search, (0, 1]
	Similarity *float64 `json:"similarity,omitempty"` // calibrated, [0, 1]
	Cosine     *float64 `json:"cosine,omitempty"`     // [-1, 1]
}

// GallerySpec is what a client states of a gallery.
type GallerySpec struct {
	Space  string // "" is the engine's default space, Config.Spaces[0]
	Index  string // "scan", "hnsw" or "auto", by which the index finds out whether a graph is worth it; "" is "auto"
	Policy Policy // default of this gallery's searches and verifications
	Gate   Gates  // what photos must reach
	// KeepPhotos has the photos that people are enrolled with stored, sealed, so that the gallery can be moved to another space
	// without enrolling them again. It is for good.
	KeepPhotos bool
	// Duplicates is what becomes of enrolments whose face is another person's already; "" is DuplicatesOff.
	Duplicates DuplicateCheck
	// DuplicatePolicy says who is alike, for that and for Engine.Duplicates; zero: FPIR 1e-3. It can't be a cosine, which
	// would mean something else once the gallery is moved to another space.
	DuplicatePolicy Policy
	// RetentionDays is when a person who is put without Retention.Expires is due, counted from then; 0: never.
	RetentionDays int
	// History is of how many replaced templates of each person it is kept what is known of them, the latest, at most MaxHistory;
	// the templates themselves go. 0 keeps nothing.
	History int
	// Filterable names the top-level fields of people's metadata that searches can be filtered by, for good: at most
	// MaxFilterable. Their values are in memory as hashes, 8 bytes a field and template.
	Filterable []string
}

// GalleryChange is what UpdateGallery changes: nil leaves what is there, anything else replaces it whole.
type GalleryChange struct {
	Policy          *Policy // the zero Policy makes it each operation's default
	Gate            *Gates  // the zero Gates let every photo pass
	Duplicates      *DuplicateCheck
	DuplicatePolicy *Policy // the zero Policy makes it FPIR 1e-3
	// RetentionDays holds for people who are put from then on; 0: they are due when they say, or never.
	RetentionDays *int
	History       *int // what is kept beyond it goes when the person is replaced next
}

// Gallery describes people who are searched together.
type Gallery struct {
	Name      string    `json:"name"`
	Space     string    `json:"space"`
	Dim       int       `json:"dim"`
	Index     string    `json:"index"`
	Policy    Policy    `json:"policy,omitzero"`
	Gate      Gates     `json:"gate,omitzero"`
	People    int       `json:"people"`
	Templates int       `json:"templates"`
	Created   time.Time `json:"created"`
	// RetentionDays is when people who don't say when are due, counted from when they are put; 0: never.
	RetentionDays int `json:"retention_days,omitempty"`
	// KeepPhotos says that the photos that people are enrolled with are stored.
	KeepPhotos bool `json:"keep_photos,omitempty"`
	// Duplicates is there unless it is DuplicatesOff.
	Duplicates      DuplicateCheck `json:"duplicates,omitempty"`
	DuplicatePolicy Policy         `json:"duplicate_policy,omitzero"`
	// Damaged says that the store could not read the gallery when it was opened: it answers nothing until it is restored. Its
	// counts say nothing then.
	Damaged    bool     `json:"damaged,omitempty"`
	History    int      `json:"history,omitempty"`
	Filterable []string `json:"filterable,omitempty"`
	// Move is there while the gallery is being moved to another space.
	Move *Move `json:"move,omitempty"`
	// IndexStatus is what Engine.Gallery adds; nil elsewhere, and where the space is not configured.
	IndexStatus *IndexStatus `json:"index_status,omitempty"`
}

// MoveSpec is what a client states of a move.
type MoveSpec struct {
	Space  string // where the gallery goes; required
	Policy Policy // the gallery's from the switch on; zero: the one it has, which then must not be a cosine
}

// Move is how far a gallery's move to another space is.
type Move struct {
	Space  string `json:"space"`
	Dim    int    `json:"dim"`
	Policy Policy `json:"policy,omitzero"` // the gallery's from the switch on
	People int    `json:"people"`
	Done   int    `json:"people_done"` // who have templates of the new space

	// Of a gallery that keeps photos, where they can be read (Config.Extract).
	Waiting  int           `json:"people_waiting,omitempty"` // whose stored photos, if they have any, are still to be read for the new space
	Failed   int           `json:"failed,omitempty"`         // who have stored photos of which none could be used
	Failures []MoveFailure `json:"failures,omitempty"`       // the first of them, by id, at most MaxMoveFailures; of Engine.Gallery only
}

// MoveFailure is a person whose stored photos could not be used.
type MoveFailure struct {
	Person string `json:"person"`
	Reason string `json:"reason"` // of the last photo: the Detail of what Config.Extract answered, "internal" where it has none
}

// PersonSpec is what a client states of a person: the whole truth, for PutPerson replaces.
type PersonSpec struct {
	Templates []Template      // 1..MaxTemplates; while the gallery is being moved, as many of either space
	Metadata  json.RawMessage // a JSON object of at most MaxMetadataBytes, or nil
	Retention
	EnrolOptions
	WriteOptions
}

// TemplateSpec is what AddTemplate adds.
type TemplateSpec struct {
	Templates []Template // one; while the gallery is being moved, one of either space or one of each
	EnrolOptions
	WriteOptions
}

// EnrolOptions are what a call that stores templates may ask for besides. The zero value is the gallery's.
type EnrolOptions struct {
	// Duplicates replaces the gallery's check if it is stricter, or if Overrule is set: whose key enrols must not be able to
	// let in what the gallery's owner shut out.
	Duplicates DuplicateCheck
	Overrule   bool
}

// PersonPatch is what PatchPerson changes: nil leaves what is there.
type PersonPatch struct {
	Metadata *json.RawMessage // replaces the metadata, whole; nil JSON, or null, removes it
	Expires  *time.Time       // replaces Retention.Expires; zero: by the gallery's RetentionDays, from now
	Consent  **Consent        // replaces the consent; nil removes it
	Status   Status           // "" leaves it
	WriteOptions
}

// WriteOptions are what a call that writes a person may ask for besides. The zero value asks for nothing.
type WriteOptions struct {
	If Condition
}

// Condition is what must hold of a person for a write to happen (RFC 9110, 13.1). The zero value always holds.
type Condition struct {
	Versions []uint64 // If-Match: the person is there in one of these, Person.Version; nil: in any, or not
	There    bool     // If-Match: *
	Absent   bool     // If-None-Match: *, nobody of this id is there
}

// Person is a stored person without the biometrics.
type Person struct {
	ID        string          `json:"id"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	Status    Status          `json:"status,omitempty"`  // "" is StatusActive
	Templates []TemplateInfo  `json:"templates"`         // oldest first
	History   []TemplateInfo  `json:"history,omitempty"` // templates that were replaced, oldest first; GallerySpec.History
	Created   time.Time       `json:"created"`
	Updated   time.Time       `json:"updated"`
	Version   uint64          `json:"version"` // the store's sequence number of the last change
	Retention
	// Moved says, while the gallery is being moved to another space, that the person has templates of that.
	Moved bool `json:"moved,omitempty"`
	// Duplicates are, in the answer of an enrolment under DuplicatesWarn, those of other ids who are alike.
	Duplicates []Candidate `json:"duplicates,omitempty"`
}

// TemplateInfo is the provenance of one stored template.
type TemplateInfo struct {
	ID      string    `json:"id"` // unique within the person
	Source  string    `json:"source"`
	Created time.Time `json:"created"`
	Photo   bool      `json:"photo,omitempty"` // the photo that it was made of is stored
	// Quality is the unified score of the photo that it was made of, 0 to 100, in hundredths; nil if that was not judged.
	Quality  *float64  `json:"quality,omitempty"`
	By       string    `json:"by,omitempty"`      // id of the API key that enrolled it, where there was one
	Replaced time.Time `json:"replaced,omitzero"` // of history: when
}

// Status says whether a person is matched.
type Status string

// The statuses. Who is suspended keeps everything: Verify refuses, Identify does not list, duplicate checks do, and say so.
const (
	StatusActive    Status = "active"
	StatusSuspended Status = "suspended"
)

// Decision is the answer to a 1:1 question.
type Decision struct {
	Match      bool    `json:"match"`
	Similarity float64 `json:"similarity"` // of the best comparison
	Cosine     float64 `json:"cosine"`     // of the best comparison
	// FMR is the rate at which strangers reach this score: the best of n templates is n times, at most 1, the rate of one.
	FMR float64 `json:"fmr"`
	// Extrapolated says that similarity and fmr are beyond what the calibration's set could show.
	Extrapolated bool    `json:"extrapolated,omitempty"`
	Threshold    float64 `json:"threshold"` // the cosine that decided
}

// IdentifyOptions shape a 1:N search.
type IdentifyOptions struct {
	TopK   int    // 1..MaxTopK; 0 is 10
	Policy Policy // zero: the gallery's, then the operation's default
	// Exact compares the probe with every template in float32, which takes longer. Without it, a search by the scan
	// loses a template that belongs into the answer with a probability of at most index.DefaultMiss, 1e-6, and a search
	// by a graph with one that depends on the gallery and on EF (IndexStatus.Recall counts); galleries that never held
	// more than 1,024 templates are always searched so.
	Exact bool
	// EF is how many templates a graph keeps in sight, 1..MaxEF: more find more and take longer. 0 is the index's own. The
	// scan has none, and ignores it.
	EF int
	// Filter says who may be listed. Threshold and FPIR are then by the templates of who passes.
	Filter Filter
}

// Candidate is one person at or above the threshold.
type Candidate struct {
	Person     string  `json:"person"`
	Similarity float64 `json:"similarity"`
	Cosine     float64 `json:"cosine"`
	FMR        float64 `json:"fmr"`              // of the one template that is nearest
	FPIR       float64 `json:"fpir"`             // 1 − (1 − fmr)^searched
	Status     Status  `json:"status,omitempty"` // "" is StatusActive
	// Extrapolated says that similarity, fmr and fpir are beyond what the calibration's set could show.
	Extrapolated bool `json:"extrapolated,omitempty"`
}

// Candidates is the answer to a 1:N question, best first, ties by person id.
type Candidates struct {
	Candidates []Candidate `json:"candidates"`
	Threshold  float64     `json:"threshold"` // the cosine that decided
	Searched   int         `json:"searched"`  // templates of the gallery, or of who passes the filter, when the search began
}
