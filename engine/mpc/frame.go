package mpc

import (
	"encoding/binary"
	"fmt"
	"io"
)

// MaxFrame bounds a frame's payload.
const MaxFrame = 64 << 20

// FrameType is what a frame is. Numbers are never reused.
type FrameType uint8

// Frames of a gateway to a party, with their answers, and of parties among themselves.
const (
	FrameVerify         FrameType = 10
	FrameIdentify       FrameType = 11
	FrameVerifySealed   FrameType = 12 // as VERIFY, with an envelope in the place of the shares
	FrameIdentifySealed FrameType = 13
	FramePrepare        FrameType = 20
	FrameCommit         FrameType = 21
	FrameAbort          FrameType = 22
	FrameStatus         FrameType = 23
	FramePrepareSealed  FrameType = 24
	FrameDelete         FrameType = 30
	FrameDeleteTenant   FrameType = 31
	FrameHolds          FrameType = 32
	FrameRefresh        FrameType = 40
	FrameRefreshCommit  FrameType = 41
	FrameRepair         FrameType = 50
	FrameHello          FrameType = 60
	frameRound          FrameType = 0x40 // + round, 1 to maxRound
	FrameResult         FrameType = 80
	FrameError          FrameType = 81
	frameSessionAborted FrameType = 90 // payload: nothing, or a Failure, u8, and its item, u32
	framePing           FrameType = 91 // sid 0, empty: the sender is there

	maxRound = 15
)

// Frame is one message on a connection:
//
//	length u32 of what follows · sid u64 · type u8 · flags u8 · payload
//
// little-endian, with a payload of at most MaxFrame bytes. What flags say depends on the type; parties send each other 0.
type Frame struct {
	SID     uint64
	Type    FrameType
	Flags   uint8
	Payload []byte
}

const (
	headBytes  = 14
	restOfHead = 10      // what the length counts of it
	readStep   = 1 << 20 // allocated ahead of the bytes that a length announces
)

// AppendFrame appends f. REQUIRES: a payload of at most MaxFrame.
func AppendFrame(dst []byte, f Frame) []byte {
	if len(f.Payload) > MaxFrame {
		panic(fmt.Sprintf("BUG: mpc: a frame of %d bytes", len(f.Payload)))
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(restOfHead+len(f.Payload)))
	dst = binary.LittleEndian.AppendUint64(dst, f.SID)
	dst = append(dst, byte(f.Type), f.Flags)
	return append(dst, f.Payload...)
}

// ReadFrame reads one frame. The payload is the caller's; memory for it is taken as its bytes arrive. ErrFrame says that
// the length is out of range; io.EOF that there is no further frame, io.ErrUnexpectedEOF that one is cut short.
func ReadFrame(r io.Reader) (Frame, error) {
	var head [headBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:])) - restOfHead
	if n < 0 || n > MaxFrame {
		return Frame{}, fmt.Errorf("%w: a length of %d", ErrFrame, n+restOfHead)
	}
	f := Frame{SID: binary.LittleEndian.Uint64(head[4:]), Type: FrameType(head[12]), Flags: head[13]}
	var err error
	f.Payload, err = readPayload(r, int(n))
	return f, err
}

// readPayload doubles what it has read: a peer that announces much and sends little costs little.
func readPayload(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, min(n, readStep))
	for have := 0; ; {
		if _, err := io.ReadFull(r, b[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if len(b) == n {
			return b, nil
		}
		have = len(b)
		b = append(make([]byte, 0, min(n, 2*have)), b...)[:min(n, 2*have)]
	}
}
