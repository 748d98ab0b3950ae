package engine

import (
	"encoding/binary"
	"encoding/hex"
)

// The table of keys is in doc.go. Numbers are never reused.
const (
	prefixMeta     = 0x01
	prefixTenant   = 0x02
	prefixAPIKey   = 0x03
	prefixGallery  = 0x04
	prefixPerson   = 0x05
	prefixTemplate = 0x06
	prefixPhoto    = 0x07
	prefixAudit    = 0x08
	prefixOnce     = 0x0a
	prefixDue      = 0x0c
	prefixJob      = 0x0b
	prefixDocument = 0x0e
)

// formatVersion is the version of everything in doc.go's table.
//
//	1  first
//	2  galleries that are being moved to another space. A store becomes one of format 2 with its first move: programs that
//	   know format 1 only would write to the one space and not to the other
//	3  galleries that keep photos. A store becomes one of format 3 with its first such gallery: programs that know the formats
//	   before would leave the photos of who is replaced or deleted behind
//	4  audit logs. A store becomes one of format 4 with its first record: what programs of the formats before wrote would be in
//	   no log. Also retention, which they would not keep
//	5  keys of people and of tenants' versions, and a key store. A store becomes one of format 5 when it is made, or opened by a
//	   program that knows it
//	6  galleries that check for duplicates, keep a history or can be filtered by metadata, and people who are suspended, or whose
//	   templates have a score, an enroller or a history. A store becomes one of format 6 with the first of these: programs that
//	   know the formats before would let duplicates and the suspended in, and could not read the records
//	8  keys that may do less than their role says (galleries, expiry, rate, scores). A store becomes one of format 8 with its first
//	   such key: programs that know the formats before would let it do more
//	9  jobs. A store becomes one of format 9 with its first job: programs that know the formats before would leave what a job
//	   has found of who is deleted behind
//	10 requests that come again. A store becomes one of format 10 with the first that has a name: programs that know the formats before
//	   would leave answers behind when people are deleted, and would not forget
//	11 documents, and keys of the role client. A store becomes one of format 11 with the first of these: programs that know the
//	   formats before would leave documents about who is deleted behind
const (
	firstFormat    = 1
	moveFormat     = 2
	photoFormat    = 3
	auditFormat    = 4
	keysFormat     = 5
	identityFormat = 6
	accessFormat   = 8
	jobFormat      = 9
	onceFormat     = 10
	documentFormat = 11
	formatVersion  = documentFormat
)

// formatBytes is the value of keyFormat.
func formatBytes(version uint32) []byte { return binary.BigEndian.AppendUint32(nil, version) }

var (
	keyFormat      = []byte{prefixMeta, 'f'}
	keyMasterCheck = []byte{prefixMeta, 'm'}
	keySequence    = []byte{prefixMeta, 's'}
	keyKeyStore    = []byte{prefixMeta, 'k'}
	keyLastGallery = []byte{prefixMeta, 'g'}
)

func tenantKey(tenant string) []byte { return append([]byte{prefixTenant}, tenant...) }

func apiKeyKey(id string) []byte {
	raw, err := hex.DecodeString(id)
	if err != nil {
		panic("BUG: key id is not hex")
	}
	return append([]byte{prefixAPIKey}, raw...)
}

func galleryKey(tenant, name string) []byte {
	k := append([]byte{prefixGallery}, tenant...)
	return append(append(k, 0), name...)
}

// galleryPrefix begins every key of a gallery's people or templates.
func galleryPrefix(prefix byte, gallery uint64) []byte { return prefixWithRoom(prefix, gallery, 0) }

// prefixWithRoom is galleryPrefix with capacity for n bytes behind it.
func prefixWithRoom(prefix byte, gallery uint64, n int) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 1+8+n), prefix), gallery)
}

func personKey(gallery uint64, id string) []byte {
	return append(prefixWithRoom(prefixPerson, gallery, len(id)), id...)
}

func templateKey(gallery uint64, id string, number uint32) []byte {
	return numbered(prefixTemplate, gallery, id, number)
}

func photoKey(gallery uint64, id string, number uint32) []byte {
	return numbered(prefixPhoto, gallery, id, number)
}

// numbered is the key of what a person has several of.
func numbered(prefix byte, gallery uint64, id string, number uint32) []byte {
	k := append(prefixWithRoom(prefix, gallery, len(id)+1+4), id...)
	return binary.BigEndian.AppendUint32(append(k, 0), number)
}

// splitTemplateKey is the inverse of templateKey, for a key that begins with its gallery's prefix.
func splitTemplateKey(key []byte) (id string, number uint32, ok bool) {
	const head, tail = 9, 5
	if len(key) <= head+tail || key[len(key)-tail] != 0 {
		return "", 0, false
	}
	return string(key[head : len(key)-tail]), binary.BigEndian.Uint32(key[len(key)-4:]), true
}

// jobPrefix begins every key of a job.
func jobPrefix(gallery uint64, id string) []byte {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != jobIDBytes {
		panic("BUG: job id is not hex")
	}
	return append(galleryPrefix(prefixJob, gallery), raw...)
}

const jobIDBytes = 8

// What follows in a job's keys.
const (
	jobItself = 0x00
	jobResult = 0x01
)

func jobKey(gallery uint64, id string) []byte { return append(jobPrefix(gallery, id), jobItself) }

func resultKeyOf(gallery uint64, id string, number uint32) []byte {
	return binary.BigEndian.AppendUint32(append(jobPrefix(gallery, id), jobResult), number)
}

// splitJobKey is the inverse of jobKey and resultKeyOf, for a key that begins with its gallery's prefix.
func splitJobKey(key []byte) (id string, number uint32, isResult, ok bool) {
	const head = 9 + jobIDBytes
	if len(key) <= head {
		return "", 0, false, false
	}
	id = hex.EncodeToString(key[9:head])
	switch rest := key[head+1:]; {
	case key[head] == jobItself && len(rest) == 0:
		return id, 0, false, true
	case key[head] == jobResult && len(rest) == 4:
		return id, binary.BigEndian.Uint32(rest), true, true
	}
	return "", 0, false, false
}

// prefixEnd is the first key after all that begin with prefix. REQUIRES: prefix is not all 0xff.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	panic("BUG: prefix without end")
}
