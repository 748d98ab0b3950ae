package extract

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Orientation is the one EXIF tag that changes what a photo shows. Everything here reads untrusted bytes:
// every length is checked against what is left, every walk moves forward, and damage means upright (1), for a
// photo with broken metadata is still a photo.

// jpegOrientation reads APP1 "Exif" (EXIF 2.32, 4.7.2).
func jpegOrientation(data []byte) int {
	for p := 2; p+4 <= len(data) && data[p] == 0xff; {
		marker, n := data[p+1], int(binary.BigEndian.Uint16(data[p+2:]))
		if marker == 0xff { // fill byte
			p++
			continue
		}
		if marker == 0xda || n < 2 || p+2+n > len(data) {
			break
		}
		if body := data[p+4 : p+2+n]; marker == 0xe1 && bytes.HasPrefix(body, []byte("Exif\x00\x00")) {
			return tiffOrientation(body[6:])
		}
		p += 2 + n
	}
	return 1
}

// pngOrientation reads chunk eXIf (PNG third edition, 11.3.3.1).
func pngOrientation(data []byte) int {
	for p := 8; p+12 <= len(data); {
		n := int(binary.BigEndian.Uint32(data[p:]))
		if n > len(data)-p-12 {
			break
		}
		if string(data[p+4:p+8]) == "eXIf" {
			return tiffOrientation(data[p+8 : p+8+n])
		}
		p += 12 + n
	}
	return 1
}

// webpOrientation reads chunk EXIF (RFC 9649, 2.7.1.5).
func webpOrientation(data []byte) int {
	for id, body := range riffChunks(data) {
		if id == "EXIF" {
			return tiffOrientation(bytes.TrimPrefix(body, []byte("Exif\x00\x00")))
		}
	}
	return 1
}

// riffChunks walks the chunks of a WebP file; a chunk that runs over the end is cut there.
func riffChunks(data []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for p := 12; p+8 <= len(data); {
			n := int(binary.LittleEndian.Uint32(data[p+4:]))
			body := data[p+8:]
			body = body[:min(n, len(body))]
			if !yield(string(data[p:p+4]), body) || n > len(data) {
				return
			}
			p += 8 + n + n&1
		}
	}
}

// tiffOrientation reads tag 0x0112 (SHORT) of the first directory of a TIFF block.
func tiffOrientation(t []byte) int {
	if len(t) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.BigEndian
	if string(t[:2]) == "II" {
		order = binary.LittleEndian
	}
	p := int(order.Uint32(t[4:]))
	if p < 8 || p > len(t)-2 {
		return 1
	}
	entries := t[p+2:]
	for range order.Uint16(t[p:]) {
		if len(entries) < 12 {
			break
		}
		if order.Uint16(entries) == 0x0112 && order.Uint16(entries[2:]) == 3 {
			return int(order.Uint16(entries[8:]))
		}
		entries = entries[12:]
	}
	return 1
}
