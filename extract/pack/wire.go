package pack

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrBadModel says that bytes are not an ONNX model that the edits understand.
var ErrBadModel = errors.New("pack: bad ONNX model")

// field is one record of a protobuf message.
type field struct {
	num protowire.Number
	typ protowire.Type
	val []byte // of BytesType the content without its length, else the encoded value; aliases the input
	raw []byte // the whole record as read, written back as it is; nil for a field made here
}

// message is a protobuf message as its records in their order, so that what is not edited, known or not, is written
// back byte for byte: parse followed by append is the identity.
type message []field

// parse splits b into records without decoding them. The fields alias b. Their slice costs up to 40 bytes per input
// byte for a message of nothing but two-byte records. Errors: ErrBadModel.
func parse(b []byte) (message, error) {
	var m message
	err := eachField(b, func(f field) error {
		m = append(m, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// eachField calls do with every record of b, which aliases b, up to the first error. Errors: ErrBadModel, or do's.
func eachField(b []byte, do func(field) error) error {
	for at := 0; at < len(b); {
		f, n, err := parseField(b[at:])
		if err != nil {
			return fmt.Errorf("%w: at byte %d of a message of %d: %w", ErrBadModel, at, len(b), err)
		}
		if err := do(f); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// errNumber: protobuf's C++ parser, which ONNX Runtime has, drops the upper bits of such a number, so it would read
// another field than protowire does.
var errNumber = errors.New("a field's number is past 2^29-1")

func parseField(b []byte) (field, int, error) {
	num, typ, tag := protowire.ConsumeTag(b)
	if tag < 0 {
		return field{}, 0, protowire.ParseError(tag)
	}
	if num > protowire.MaxValidNumber {
		return field{}, 0, errNumber
	}
	size := protowire.ConsumeFieldValue(num, typ, b[tag:])
	if size < 0 {
		return field{}, 0, protowire.ParseError(size)
	}
	end := tag + size
	val := b[tag:end:end]
	if typ == protowire.BytesType {
		val, _ = protowire.ConsumeBytes(val)
	}
	return field{num: num, typ: typ, val: val, raw: b[:end:end]}, end, nil
}

// append writes m's records to dst and returns the extended slice.
func (m message) append(dst []byte) []byte {
	for _, f := range m {
		dst = f.append(dst)
	}
	return dst
}

func (f field) append(dst []byte) []byte {
	if f.raw != nil {
		return append(dst, f.raw...)
	}
	dst = protowire.AppendTag(dst, f.num, f.typ)
	if f.typ == protowire.BytesType {
		return protowire.AppendBytes(dst, f.val)
	}
	return append(dst, f.val...)
}

func bytesField[T []byte | string](num protowire.Number, val T) field {
	return field{num: num, typ: protowire.BytesType, val: []byte(val)}
}

func messageField(num protowire.Number, m message) field {
	return bytesField(num, m.append(nil))
}

func varintField(num protowire.Number, v int64) field {
	return field{num: num, typ: protowire.VarintType, val: protowire.AppendVarint(nil, uint64(v))}
}

// index returns where field num stands first, -1 if it does not. It is an error if a record of that number is not
// length-delimited.
func (m message) index(num protowire.Number) (int, error) {
	for i, f := range m {
		if f.num != num {
			continue
		}
		if f.typ != protowire.BytesType {
			return 0, fmt.Errorf("%w: field %d has wire type %d, not bytes", ErrBadModel, num, f.typ)
		}
		return i, nil
	}
	return -1, nil
}

// only returns the place of the one length-delimited record of field num. None is an error, and so are two: protobuf
// would merge them, no writer makes them.
func (m message) only(num protowire.Number) (int, error) {
	i, err := m.index(num)
	if err != nil {
		return 0, err
	}
	if i < 0 {
		return 0, fmt.Errorf("%w: field %d is missing", ErrBadModel, num)
	}
	if next, err := m[i+1:].index(num); err != nil || next >= 0 {
		return 0, fmt.Errorf("%w: field %d occurs more than once", ErrBadModel, num)
	}
	return i, nil
}

// text returns the first string of field num, "" when absent.
func (m message) text(num protowire.Number) (string, error) {
	i, err := m.index(num)
	if err != nil || i < 0 {
		return "", err
	}
	return string(m[i].val), nil
}

// texts returns every string of the repeated field num.
func (m message) texts(num protowire.Number) ([]string, error) {
	var out []string
	for _, f := range m {
		if f.num != num {
			continue
		}
		if f.typ != protowire.BytesType {
			return nil, fmt.Errorf("%w: field %d has wire type %d, not bytes", ErrBadModel, num, f.typ)
		}
		out = append(out, string(f.val))
	}
	return out, nil
}

// ints returns the repeated integer field num, packed or not.
func (m message) ints(num protowire.Number) ([]int64, error) {
	var out []int64
	for _, f := range m {
		if f.num != num {
			continue
		}
		if f.typ != protowire.VarintType && f.typ != protowire.BytesType {
			return nil, fmt.Errorf("%w: field %d has wire type %d, not varint", ErrBadModel, num, f.typ)
		}
		for b := f.val; len(b) > 0; {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return nil, fmt.Errorf("%w: field %d: %w", ErrBadModel, num, protowire.ParseError(n))
			}
			out, b = append(out, int64(v)), b[n:]
		}
	}
	return out, nil
}

// without returns a copy of m that lacks the given fields.
func (m message) without(nums ...protowire.Number) message {
	out := make(message, 0, len(m))
	for _, f := range m {
		if !slices.Contains(nums, f.num) {
			out = append(out, f)
		}
	}
	return out
}

// inside edits the message found in b by following path through messages that occur once each, and returns b with the
// result in place of it.
func inside(b []byte, path []protowire.Number, edit func(message) (message, error)) ([]byte, error) {
	m, err := parse(b)
	if err != nil {
		return nil, err
	}
	if len(path) == 0 {
		m, err = edit(m)
		return m.append(nil), err
	}
	i, err := m.only(path[0])
	if err != nil {
		return nil, err
	}
	val, err := inside(m[i].val, path[1:], edit)
	if err != nil {
		return nil, err
	}
	m[i] = bytesField(path[0], val)
	return m.append(make([]byte, 0, len(b)+16)), nil
}
