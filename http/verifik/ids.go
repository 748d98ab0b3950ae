package verifik

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync/atomic"
	"time"
)

// idBytes are those of the vendor's ids, which are MongoDB's ObjectIds: 24 hexadecimal digits in lower case.
const idBytes = 12

// objectIDs makes new ids: 4 bytes of seconds, 5 of the process, 3 of a counter, so that those of one process are in the order in
// which they were made. Safe for concurrent use.
type objectIDs struct {
	process [5]byte
	counter atomic.Uint32
}

func newObjectIDs() *objectIDs {
	o := new(objectIDs)
	var start [3]byte
	_, _ = rand.Read(o.process[:]) // never fails
	_, _ = rand.Read(start[:])
	o.counter.Store(uint32(start[0])<<8 | uint32(start[1])) // far from where it wraps
	return o
}

func (o *objectIDs) next(now time.Time) string {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, idBytes), uint32(now.Unix()))
	b = append(b, o.process[:]...)
	n := o.counter.Add(1)
	return hex.EncodeToString(append(b, byte(n>>16), byte(n>>8), byte(n)))
}

func isObjectID(s string) bool {
	return len(s) == 2*idBytes && strings.Trim(s, "0123456789abcdef") == ""
}

// derivedID is the id that the vendor's clients are told in the place of a name of ours: always the same, and told to nobody by the name.
func derivedID(secret []byte, parts ...string) string {
	h := hmac.New(sha256.New, secret)
	for _, p := range parts {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:idBytes])
}

// timestamp is a time as the vendor's documents have it.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
