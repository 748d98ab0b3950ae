package engine

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"mien/engine/fields"
)

// personRecord is what is sealed under a person's key. Layout, integers as uvarint, strings and bytes with
// their length before them:
//
//	version · created ms · updated ms · next template number · metadata · count · count × (number · created ms · source)
//
// If a photo is stored of any of the templates, it ends in 0 · count · count × (number · created ms · source · 1 or 0). Then come
// extensions, those that are not empty, by tag: tag · payload with its length before it.
//
//	tag  payload
//	1    consent and end (retention.go); format 4
//	2    status · of each template: quality · by · count · count × (number · created ms · source · quality · by · replaced ms), the
//	     history, oldest first; quality is 0 where it is not known, else 1 + 100 × the score; format 6
type personRecord struct {
	version   uint64 // the sequence number of the write that made this record
	created   int64  // ms since 1970
	updated   int64
	next      uint32 // the number of the next template: never used again within the person
	metadata  []byte
	suspended bool
	templates []templateRecord
	expires   int64            // ms; 0: never
	consent   *consentRecord   // nil: none
	history   []templateRecord // what is known of templates that were replaced, oldest first; they themselves are gone

	key *subjectKey // what the row was opened with, and its templates and photos are sealed with; nil: the tenant's data key
}

type templateRecord struct {
	number   uint32
	created  int64
	source   string
	photo    bool   // what it was made of is stored; never of history
	quality  uint32 // 1 + 100 × the unified score of the photo, 0 if that was not judged
	by       string // id of the API key that enrolled it, "" if there was none
	replaced int64  // of history
}

// extended reports whether the record has what needs format 6.
func (r *personRecord) extended() bool {
	return r.suspended || len(r.history) > 0 || slices.ContainsFunc(r.templates, func(t templateRecord) bool { return t.quality > 0 || t.by != "" })
}

// hasPhotos reports whether a photo is stored of any of the templates.
func (r *personRecord) hasPhotos() bool {
	return slices.ContainsFunc(r.templates, func(t templateRecord) bool { return t.photo })
}

func (r *personRecord) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, r.version)
	dst = binary.AppendUvarint(dst, uint64(r.created))
	dst = binary.AppendUvarint(dst, uint64(r.updated))
	dst = binary.AppendUvarint(dst, uint64(r.next))
	dst = fields.AppendString(dst, r.metadata)
	photos := r.hasPhotos()
	if photos {
		dst = append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.templates)))
	for _, t := range r.templates {
		dst = t.append(dst)
		if photos {
			dst = binary.AppendUvarint(dst, bit(t.photo))
		}
	}
	if r.expires != 0 || r.consent != nil {
		dst = fields.AppendString(append(dst, extRetention), r.appendRetention(nil))
	}
	if r.extended() {
		dst = fields.AppendString(append(dst, extIdentity), r.appendIdentity(nil))
	}
	return dst
}

// appendIdentity appends the payload of extIdentity.
func (r *personRecord) appendIdentity(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, bit(r.suspended))
	for _, t := range r.templates {
		dst = fields.AppendString(binary.AppendUvarint(dst, uint64(t.quality)), t.by)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.history)))
	for _, t := range r.history {
		dst = fields.AppendString(binary.AppendUvarint(t.append(dst), uint64(t.quality)), t.by)
		dst = binary.AppendUvarint(dst, uint64(t.replaced))
	}
	return dst
}

// parseIdentity is its inverse, and says whether the payload was one.
func (r *personRecord) parseIdentity(payload []byte) bool {
	d := decoderOf(payload)
	r.suspended = d.Uint(1) == 1
	for i := range r.templates {
		r.templates[i].quality, r.templates[i].by = uint32(d.Uint(maxQuality)), d.String(MaxByBytes)
	}
	for range d.Uint(MaxHistory) {
		t := d.template()
		t.quality, t.by, t.replaced = uint32(d.Uint(maxQuality)), d.String(MaxByBytes), int64(d.Uint(math.MaxInt64))
		d.Bad = d.Bad || t.replaced == 0
		r.history = append(r.history, t)
	}
	return d.Whole() && r.extended()
}

func (t templateRecord) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.number))
	dst = binary.AppendUvarint(dst, uint64(t.created))
	return fields.AppendString(dst, t.source)
}

// Tags of extensions. Numbers are never reused.
const (
	extRetention = 1 // format 4
	extIdentity  = 2 // format 6
)

// maxExtension bounds an extension's payload.
const maxExtension = 64 << 10

// parseExtensions reads what follows the templates.
func (r *personRecord) parseExtensions(d *decoder) {
	parse := map[uint64]func([]byte) bool{extRetention: r.parseRetention, extIdentity: r.parseIdentity}
	for last := uint64(0); len(d.Rest) > 0; {
		tag := d.Uint(math.MaxUint8)
		payload := d.Bytes(maxExtension)
		if d.Bad || tag <= last || parse[tag] == nil || !parse[tag](payload) {
			d.Bad = true
			return
		}
		last = tag
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// parsePersonRecord is the inverse of append; the record does not alias b. Errors: ErrCorrupt.
func parsePersonRecord(b []byte) (*personRecord, error) {
	d := decoderOf(b)
	r := &personRecord{
		version:  d.Uint(math.MaxUint64),
		created:  int64(d.Uint(math.MaxInt64)),
		updated:  int64(d.Uint(math.MaxInt64)),
		next:     uint32(d.Uint(math.MaxUint32)),
		metadata: slices.Clone(d.Bytes(MaxMetadataBytes)),
	}
	n := d.Uint(MaxTemplates)
	photos := n == 0
	if photos {
		n = d.Uint(MaxTemplates)
	}
	for range n {
		t := d.template()
		t.photo = photos && d.Uint(1) == 1
		r.templates = append(r.templates, t)
	}
	r.parseExtensions(&d)
	if d.Bad || len(r.templates) == 0 || photos != r.hasPhotos() {
		return nil, fmt.Errorf("%w: person record", ErrCorrupt)
	}
	return r, nil
}

// maxQuality is that of the best photo, as records have it.
const maxQuality = 1 + 100*100

// decoder reads fields, and what several records have of them.
type decoder struct{ fields.Decoder }

func decoderOf(b []byte) decoder { return decoder{fields.Of(b)} }

func (d *decoder) template() templateRecord {
	return templateRecord{
		number:  uint32(d.Uint(math.MaxUint32)),
		created: int64(d.Uint(math.MaxInt64)),
		source:  d.String(MaxSourceBytes),
	}
}

// person is the record as clients see it.
func (r *personRecord) person(id string) Person {
	p := Person{ID: id, Metadata: json.RawMessage(r.metadata), Version: r.version,
		Created: fromMillis(r.created), Updated: fromMillis(r.updated), Templates: make([]TemplateInfo, len(r.templates)), Retention: r.retention()}
	if r.suspended {
		p.Status = StatusSuspended
	}
	for i, t := range r.templates {
		p.Templates[i] = t.info()
	}
	for _, t := range r.history {
		p.History = append(p.History, t.info())
	}
	return p
}

// scoreOf is the unified score of a template's quality; nil where it was not judged.
func scoreOf(quality uint32) *float64 {
	if quality == 0 {
		return nil
	}
	return new(float64(quality-1) / 100)
}

func (t templateRecord) info() TemplateInfo {
	info := TemplateInfo{ID: strconv.FormatUint(uint64(t.number), 10), Source: t.source, Created: fromMillis(t.created), Photo: t.photo, By: t.by}
	info.Quality = scoreOf(t.quality)
	if t.replaced > 0 {
		info.Replaced = fromMillis(t.replaced)
	}
	return info
}

// portable is the template as files of people have it, without its vector.
func (t templateRecord) portable() PortableTemplate {
	p := PortableTemplate{Number: t.number, Created: fromMillis(t.created), Source: t.source, Quality: scoreOf(t.quality), By: t.by}
	if t.replaced > 0 {
		p.Replaced = fromMillis(t.replaced)
	}
	return p
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// galleryRecord is the JSON under a gallery's key. The structs of JSON records are the disk's, apart from those of
// the API: their JSON names are on the disk for good: testdata/format-1
// and its like hold them.
type galleryRecord struct {
	Number  uint64       `json:"number"`
	Space   string       `json:"space"`
	Dim     int          `json:"dim"`
	Index   string       `json:"index"`
	Policy  policyRecord `json:"policy,omitzero"`
	Gate    gatesRecord  `json:"gate,omitzero"`
	Created time.Time    `json:"created"`
	Move    *moveRecord  `json:"move,omitempty"`
	// RetentionDays is of format 4.
	RetentionDays int `json:"retention_days,omitempty"`
	// KeepPhotos is of format 3.
	KeepPhotos bool `json:"keep_photos,omitempty"`
	// Duplicates and DuplicatePolicy are of format 6; "" is off.
	Duplicates      string       `json:"duplicates,omitempty"`
	DuplicatePolicy policyRecord `json:"duplicate_policy,omitzero"`
	// History is of format 6: how many replaced templates of each person are kept.
	History int `json:"history,omitempty"`
	// Filterable is of format 6.
	Filterable []string `json:"filterable,omitempty"`
}

// moveRecord is a move under way: people and templates of the new space are under a number of their own. Format 2.
type moveRecord struct {
	Number uint64        `json:"number"`
	Space  string        `json:"space"`
	Dim    int           `json:"dim"`
	Policy *policyRecord `json:"policy,omitempty"` // nil: the gallery's
}

// moved is the record of the gallery that a move ends in. REQUIRES: a move is under way.
func (r galleryRecord) moved() galleryRecord {
	m := r.Move
	r.Number, r.Space, r.Dim, r.Move = m.Number, m.Space, m.Dim, nil
	if m.Policy != nil {
		r.Policy = *m.Policy
	}
	return r
}

// successor is the number of the gallery that a move ends in, 0 if there is no move.
func (r galleryRecord) successor() uint64 {
	if r.Move == nil {
		return 0
	}
	return r.Move.Number
}

// policyRecord is a Policy in a galleryRecord.
type policyRecord struct {
	FMR        *float64 `json:"fmr,omitempty"`
	FPIR       *float64 `json:"fpir,omitempty"`
	Similarity *float64 `json:"similarity,omitempty"`
	Cosine     *float64 `json:"cosine,omitempty"`
}

func recordOfPolicy(p Policy) policyRecord { return policyRecord(p.clone()) }

// policy is the record as the API has it; the numbers are shared.
func (r policyRecord) policy() Policy { return Policy(r) }

// gatesRecord is a Gates in a galleryRecord: least values by the measure's name.
type gatesRecord struct {
	Enrol map[string]float64 `json:"enrol,omitempty"`
	Probe map[string]float64 `json:"probe,omitempty"`
}

func recordOfGates(g Gates) gatesRecord {
	c := g.clone()
	return gatesRecord{c.Enrol, c.Probe}
}

// gates is the record as the API has it; the maps are shared.
func (r gatesRecord) gates() Gates { return Gates{r.Enrol, r.Probe} }

// keyRecord is the JSON under an API key's key.
type keyRecord struct {
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"`
	Role     string    `json:"role"`
	Operator bool      `json:"operator,omitempty"`
	Label    string    `json:"label,omitempty"`
	Created  time.Time `json:"created"`
	Revoked  time.Time `json:"revoked,omitzero"`
	Hash     []byte    `json:"hash"` // SHA-256 of the secret part

	// Format 8: see narrowed.
	Galleries   []string  `json:"galleries,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
	Rate        float64   `json:"rate,omitempty"`
	Burst       int       `json:"burst,omitempty"`
	Scores      string    `json:"scores,omitempty"`
	RotatedTo   string    `json:"rotated_to,omitempty"`
	RotatedFrom string    `json:"rotated_from,omitempty"`

	Dialect string `json:"dialect,omitempty"` // format 11

	used *atomic.Int64 // minutes since 1970 of the last use in this process; of the key, whichever its record
}

// narrowed reports whether the key may do less than its role says: a program that doesn't know these fields would let it do more.
func (r *keyRecord) narrowed() bool {
	return len(r.Galleries) > 0 || !r.Expires.IsZero() || r.Rate > 0 || r.Scores != ""
}

// key is the record as clients see it, without its last use. It allocates nothing.
func (r *keyRecord) key() Key {
	return Key{ID: r.ID, Tenant: r.Tenant, Role: Role(r.Role), Operator: r.Operator, Label: r.Label, Created: r.Created, Revoked: r.Revoked,
		Galleries: r.Galleries, Expires: r.Expires, Rate: r.Rate, Burst: r.Burst, Scores: Scores(r.Scores),
		RotatedTo: r.RotatedTo, RotatedFrom: r.RotatedFrom, Dialect: r.Dialect}
}

// listed is the record as lists have it.
func (r *keyRecord) listed() Key {
	k := r.key()
	if m := r.used.Load(); m > 0 {
		k.LastUsed = time.Unix(60*m, 0).UTC()
	}
	return k
}

// jobRecord is the JSON under a job's key. Format 9.
type jobRecord struct {
	Kind       string       `json:"kind"`
	State      string       `json:"state"`
	Reason     string       `json:"reason,omitempty"`
	Policy     policyRecord `json:"policy,omitzero"` // as it was asked for
	FalsePairs float64      `json:"false_pairs,omitempty"`
	Threshold  float64      `json:"threshold"` // cosines: of a pair,
	Suspect    float64      `json:"suspect"`   // from which on a template may be somebody else's,
	Own        float64      `json:"own"`       // and below which it is not verified by the person's others
	MaxPairs   int          `json:"max_pairs"`
	MinQuality float64      `json:"min_quality,omitempty"` // a unified score; of jobs before there was one, 0
	Templates  int          `json:"templates"`             // of the gallery when the job was made
	Created    time.Time    `json:"created"`
	Started    time.Time    `json:"started,omitzero"`
	Ended      time.Time    `json:"ended,omitzero"`
	Covered    time.Time    `json:"covered,omitzero"`
	// Watermark and After are the version and the id of who was looked at last, Counted is the version up to which people are in Hygiene.
	Watermark uint64        `json:"watermark,omitempty"`
	After     string        `json:"after,omitempty"`
	Counted   uint64        `json:"counted,omitempty"`
	People    int           `json:"people,omitempty"`
	Done      int           `json:"done,omitempty"`
	Floor     float64       `json:"floor,omitempty"` // the least cosine of a pair that is kept, once there were too many
	Truncated bool          `json:"truncated,omitempty"`
	Hygiene   hygieneRecord `json:"hygiene,omitzero"`
}

// end is the record of a job that has ended. Whom it came to last is nobody's business then, and may have been deleted.
func (r jobRecord) end(s JobState, now int64) jobRecord {
	r.State, r.Ended, r.After = string(s), fromMillis(now), ""
	return r
}

// sameSpec reports whether both were asked for alike.
func (r jobRecord) sameSpec(o jobRecord) bool {
	return r.Kind == o.Kind && r.Policy.policy().equal(o.Policy.policy()) && r.FalsePairs == o.FalsePairs && r.MaxPairs == o.MaxPairs && r.MinQuality == o.MinQuality
}

// hygieneRecord is a Hygiene in a jobRecord.
type hygieneRecord struct {
	People       int `json:"people,omitempty"`
	Templates    int `json:"templates,omitempty"`
	OneTemplate  int `json:"one_template,omitempty"`
	Under1Year   int `json:"under_1_year,omitempty"`
	Over1Year    int `json:"over_1_year,omitempty"`
	Over5Years   int `json:"over_5_years,omitempty"`
	Over10Years  int `json:"over_10_years,omitempty"`
	Unjudged     int `json:"unjudged,omitempty"`
	Mislabelled  int `json:"-"`
	Inconsistent int `json:"-"`
	LowQuality   int `json:"-"`
}

const jsonRecordVersion = 1

func appendJSONRecord(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: record does not marshal: " + err.Error())
	}
	return append([]byte{jsonRecordVersion}, b...)
}

func parseJSONRecord(b []byte, v any) error {
	if len(b) == 0 || b[0] != jsonRecordVersion {
		return fmt.Errorf("%w: record version", ErrCorrupt)
	}
	if err := json.Unmarshal(b[1:], v); err != nil {
		return fmt.Errorf("%w: record: %w", ErrCorrupt, err)
	}
	return nil
}

func appendVector(dst []byte, v []float32) []byte {
	from := len(dst)
	dst = slices.Grow(dst, 4*len(v))[:from+4*len(v)]
	for i, x := range v {
		binary.LittleEndian.PutUint32(dst[from+4*i:], math.Float32bits(x))
	}
	return dst
}

// vectorInto decodes len(dst) numbers. Errors: ErrCorrupt.
func vectorInto(dst []float32, b []byte) error {
	if len(b) != 4*len(dst) {
		return fmt.Errorf("%w: template has %d bytes, want %d", ErrCorrupt, len(b), 4*len(dst))
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return nil
}
