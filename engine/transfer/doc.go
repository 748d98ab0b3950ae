// Package transfer reads and writes files of people: a gallery's people with their templates, to be kept, moved to another
// installation, or made by other programs. It promises that what Write was given Read gives back to the bit, that a file
// that is cut short or damaged is told, and that no file makes it allocate more than one record's bounds. It refuses versions it
// does not know, fields it does not know (a reader that passed over, say, that somebody is suspended would lie), and anything
// behind the trailer. A file that is not sealed holds biometric templates in the clear: whoever has it can search for, and imitate, these people.
//
// There are two forms of the same content, told apart by their first byte. Both are streams: nothing is sought.
//
// # NDJSON
//
// Lines of UTF-8 JSON objects, each ended by a line feed: a header, one for each person, a trailer. Media type
// application/x-ndjson. Times are RFC 3339 UTC with at most milliseconds; f32 is standard base64 of little-endian
// float32[dim].
//
//	{"mien":"export","version":2,"space":"…","dim":512,"gallery":"staff","created":"2026-01-02T03:04:05Z"}
//	{"id":"ada","metadata":{…},"created":"…","updated":"…",
//	 "templates":[{"number":3,"created":"…","source":"image","quality":71.25,"by":"…","f32":"…"}],
//	 "status":"suspended","expires":"…","consent":{"purpose":"…","basis":"…","given_at":"…","reference":"…","expires":"…"},
//	 "history":[{"number":1,"created":"…","source":"image","quality":40,"by":"…","replaced":"…"}]}
//	{"mien":"end","people":1,"sha256":"…"}
//
// (A person is one line.) gallery, created and metadata may be left out; so may a person's created, updated, and a template's number, created
// and source, for files made by hand: they are then the time of reading, 1 and on, and "template". A status that is left out says nothing
// (engine.PortablePerson); an expires, consent, quality or by that is left out says that there is none. sha256, of all bytes before the
// trailer's line, in hex, and the trailer itself may be left out only if Config.Open says so.
//
// # Binary
//
// Media type application/vnd.mien.people. Integers are little-endian; uv is an unsigned varint (LEB128, as encoding/binary has it)
// of at most 10 bytes; a string is uv length and bytes.
//
//	header    "mien people\n"[12] · version u16 · length u16 of the JSON · JSON · CRC-32C u32 of all before
//	block     0x01 · records u32 · length u32 of the body · CRC-32C u32 of the 9 bytes before and the body · body
//	trailer   0x02 · people u64 · SHA-256[32] of all before the trailer · CRC-32C u32 of the 41 bytes before
//
// The header's JSON is the NDJSON header's without "mien" and "version". A block's body is its records, one after the other:
//
//	record    id string · metadata string ("" is none) · created ms uv · updated ms uv · extra string · count uv · templates
//	template  number uv · created ms uv · source string · extra string · float32[dim]
//
// Times are milliseconds since 1970. An extra is "" in version 1. From version 2 on a template's is "" or
//
//	quality uv, 0 for none, else 1 + 100 × the score · by string
//
// and a person's is what there is of these, in this order, each with its tag, uv, and its length, uv, before it:
//
//	1  status    "active" or "suspended"
//	2  retention expires ms uv · 0, or 1 · purpose string · basis string · reference string · given ms uv · expires ms uv
//	3  history   count uv · count × (number uv · created ms uv · source string · quality uv · by string · replaced ms uv)
//
// where an end of 0 is none. A block's body has at most MaxBlockBytes, and a writer ends one at a MiB, so that a reader can go on from
// any block's offset (Reader.Offset, Skip) once it has the header.
//
// # Sealed
//
// A file may be sealed whole by a key that both sides have, as backups are: package backup says how, of kind "people" and without a name (Seal, OpenSealed). Inside is either form. A sealed file is random-access, so an import of one resumes too.
//
// # Versions
//
//	1  first
//	2  status, ends, consent, provenance and history
//
// testdata has a file of each version in each form, which must be read for ever.
package transfer
