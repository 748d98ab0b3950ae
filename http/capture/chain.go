package capture

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"time"

	"mien/http/dialect"
)

// Limits of what the page sends for a step.
const (
	maxStepBytes  = 4<<20 + 64<<10 // the frames, and what the form has around them
	maxFrameBytes = 2 << 20
	maxMetaBytes  = 8 << 10
	leastFrames   = 3
	mostFrames    = 5 // of a step; of flash flashFrames
)

// meta is what the page says of the frames of a step.
type meta struct {
	Step        int         `json:"step"`
	Nonce       string      `json:"nonce"`
	Frames      []frameMeta `json:"frames"`
	Alternative bool        `json:"alternative"` // for the record: the person does it in another way
}

// frameMeta is what it says of one. T is of the page's own clock, performance.now().
type frameMeta struct {
	I      int     `json:"i"` // counts through the whole try
	T      float64 `json:"t_ms"`
	SHA256 string  `json:"sha256"`
	Tag    string  `json:"tag"`
	Colour *int    `json:"colour"` // of flash: which of the step's colours was shown; −1 none
}

// sent is a step as it came: one frame for each of meta's.
type sent struct {
	meta
	data [][]byte
	sums [][32]byte // SHA-256 of them
}

// badForm is a refusal of a body that is not what the page sends.
func badForm(format string, args ...any) error {
	return &dialect.Refusal{Code: "bad_multipart", Detail: fmt.Sprintf(format, args...)}
}

// parseStep reads the form of a step: one field meta, then the frames, in memory of their own. Errors: *dialect.Refusal.
func parseStep(contentType string, body []byte) (*sent, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/form-data" || len(params["boundary"]) == 0 || len(params["boundary"]) > 70 {
		return nil, &dialect.Refusal{Code: "unsupported_media_type", Detail: "a step is sent as multipart/form-data"}
	}
	if len(body) > maxStepBytes {
		return nil, &dialect.Refusal{Code: "body_too_large", Detail: fmt.Sprintf("a step may have %d bytes at most", maxStepBytes)}
	}
	if !bytes.Contains(body, []byte("--"+params["boundary"]+"--")) { // the reader would take a form cut in a part's header for its end
		return nil, badForm("the form is cut short: its last boundary is missing")
	}
	x := new(sent)
	reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for i := 0; ; i++ {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return x, x.complete(i > 0)
		}
		if err != nil {
			return nil, badForm("part %d can't be read", i+1)
		}
		if err := x.take(part, i); err != nil {
			return nil, err
		}
	}
}

// take reads part i. Errors: *dialect.Refusal.
func (x *sent) take(part *multipart.Part, i int) error {
	name, limit := "frame", maxFrameBytes
	if i == 0 {
		name, limit = "meta", maxMetaBytes
	}
	if part.FormName() != name || i > flashFrames {
		return badForm("part %d of the form is not %q: a step is one \"meta\" and then its \"frame\"s", i+1, name)
	}
	data, err := io.ReadAll(io.LimitReader(part, int64(limit)+1))
	if err != nil || len(data) == 0 || len(data) > limit {
		return badForm("part %d ends too early, is empty or has more than %d bytes", i+1, limit)
	}
	if i > 0 {
		x.data, x.sums = append(x.data, data), append(x.sums, sha256.Sum256(data))
		return nil
	}
	if err := json.Unmarshal(data, &x.meta); err != nil {
		return badForm("\"meta\" is not the JSON of a step")
	}
	return nil
}

// complete checks that there is a frame for everything that meta says of one.
func (x *sent) complete(hasMeta bool) error {
	if !hasMeta || len(x.data) != len(x.Frames) || len(x.data) == 0 {
		return badForm("a form of %d frames, and a \"meta\" that tells of %d: there must be as many, and one at least", len(x.data), len(x.Frames))
	}
	return nil
}

// size is the frames' bytes.
func (x *sent) size() (n int64) {
	for _, d := range x.data {
		n += int64(len(d))
	}
	return n
}

// wipe overwrites the frames.
func (x *sent) wipe() {
	for _, d := range x.data {
		clear(d)
	}
}

// What is wrong with a step's frames, for the record of a try. Each is errDamaged.
var (
	errDamaged  = errors.New(wordDamaged)
	errNonce    = fmt.Errorf("%w: nonce", errDamaged)
	errOrder    = fmt.Errorf("%w: order", errDamaged)
	errHash     = fmt.Errorf("%w: hash", errDamaged)
	errTag      = fmt.Errorf("%w: tag", errDamaged)
	errTimes    = fmt.Errorf("%w: times", errDamaged)
	errSkew     = fmt.Errorf("%w: skew", errDamaged)
	errRepeated = fmt.Errorf("%w: repeated", errDamaged)
	errNoJPEG   = fmt.Errorf("%w: picture", errDamaged)
)

// chain binds the frames of a try to each other, to the step that asked for them and to the try: a tag is
//
//	mᵢ = HMAC-SHA-256(key, mᵢ₋₁ ‖ nonce ‖ i, u32 ‖ t in ms, f64 ‖ SHA-256(frame)), numbers big-endian, m₋₁ = 32 zero bytes
//
// It shows frames that are lost, out of order, or of another try. It proves nothing about the browser, which has the key.
type chain struct {
	key  [32]byte
	last [32]byte // m of the frame before
	next int      // i of the next frame
	t    float64  // of the frame before, in ms
}

const (
	leastSpan = 150  // ms from the first frame of a step to its last: the page takes ten a second
	maxTime   = 1e10 // ms; four months
)

// follow is the chain behind the frames of a step, if they hold. Errors: errOrder, errHash, errTag, errTimes.
func (c chain) follow(nonce [nonceBytes]byte, x *sent) (chain, error) {
	for j, f := range x.Frames {
		switch {
		case f.I != c.next:
			return c, errOrder
		case !(f.T > c.t || c.next == 0 && f.T >= 0) || !(f.T < maxTime):
			return c, errTimes
		case !equalHex(f.SHA256, x.sums[j]):
			return c, errHash
		}
		m := c.tag(nonce, f, x.sums[j])
		if !equalHex(f.Tag, m) {
			return c, errTag
		}
		c.last, c.next, c.t = m, c.next+1, f.T
	}
	if n := len(x.Frames); x.Frames[n-1].T-x.Frames[0].T < leastSpan {
		return c, errTimes
	}
	return c, nil
}

// tag is mᵢ of the next frame.
func (c *chain) tag(nonce [nonceBytes]byte, f frameMeta, sum [32]byte) (m [32]byte) {
	h := hmac.New(sha256.New, c.key[:])
	h.Write(c.last[:])
	h.Write(nonce[:])
	b := binary.BigEndian.AppendUint32(nil, uint32(f.I))
	h.Write(binary.BigEndian.AppendUint64(b, math.Float64bits(f.T)))
	h.Write(sum[:])
	h.Sum(m[:0])
	return m
}

// equalHex compares in constant time.
func equalHex(text string, want [32]byte) bool {
	got, err := hex.DecodeString(text)
	return err == nil && hmac.Equal(got, want[:])
}

// nonceBytes is how long the nonce of a step is.
const nonceBytes = 16

// isNonce reports whether text is the base64 of a nonce.
func isNonce(text string, nonce [nonceBytes]byte) bool {
	got, err := base64.StdEncoding.DecodeString(text)
	return err == nil && hmac.Equal(got, nonce[:])
}

// skew holds how far the page's clock is behind ours, as of the steps of a try: from the last frame's time to the arrival of what it came
// with. It can't vary by more than what is between: encoding, a slow line.
type skew struct {
	known       bool
	least, most time.Duration
}

// maxSkew is by how much it may vary. A line or a machine that stalls for longer costs a try. It is little to go by: it stops who sends times that are made up or stand still.
const maxSkew = 8 * time.Second

// with notes a step that arrived some time after any start, the same for all of a try. Errors: errSkew.
func (k skew) with(arrived time.Duration, t float64) (skew, error) {
	d := arrived - milliseconds(t)
	if !k.known {
		return skew{true, d, d}, nil
	}
	k.least, k.most = min(k.least, d), max(k.most, d)
	if k.most-k.least > maxSkew {
		return k, errSkew
	}
	return k, nil
}

func milliseconds(t float64) time.Duration { return time.Duration(t * float64(time.Millisecond)) }
