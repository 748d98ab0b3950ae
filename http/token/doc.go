// Package token seals templates, photos and sessions for clients to keep and bring back: FacePhi's templateRaw and
// bestImageToken are such tokens. A client can neither read nor change one, nor use it for another tenant, purpose or
// person. It imports the standard library only and knows nothing of requests.
//
// It promises:
//
//  1. A token opens only as it was sealed: no bit of its bytes can differ. It may be respelled in base64.
//  2. It opens only for the tenant, purpose and audience that it was sealed for. They are not in it: whoever
//     opens it must know them, from an authenticated request. Its type, space, subject, times and single use are in it
//     and authentic.
//  3. All tokens that are not authentic in their place get one error, [ErrDoesNotOpen]. What else is wrong with a token, its
//     type, its age, its use before, is told of authentic ones only.
//  4. A single-use token opens once, however many try at once. One whose use can't be recorded doesn't open.
//  5. No length is taken from a token before it was compared with what is there. What isn't authentic by its header and
//     commitment costs less than 4 KiB (more only where tenant, purpose and audience have more than 200 bytes), what is,
//     its own size once; a token longer than Config.MaxPayloadBytes allows isn't read.
//     Nothing is compressed, and a flag that says so is refused.
//  6. A token of version 1 opens as long as its key is held: testdata/vectors.json.
//  7. It works where only what FIPS 140-3 approves is allowed (GODEBUG=fips140=only): AES-256-GCM with random nonces made
//     by the module, HKDF-SHA-256, SHA-256, crypto/rand. A test runs the others in that mode.
//
// # Layout
//
// Version 1, in base64 (RFC 4648): standard with padding, as it is written, or URL-safe with or without; strict,
// without line breaks. Big endian.
//
//	 0  'F' 'T'
//	 2  version      1
//	 3  type         1 template, 2 best image, 3 session, 4 probe
//	 4  flags        1 single use; all others are zero
//	 5  0
//	 6  key id       u32
//	10  issued       u32, seconds since 1970
//	14  expires      u32, the same; 0 is never, and not for single use
//	18  space mark   u16, the first two bytes of SHA-256 of the space's name; 0 without a space
//	20  salt         16 random bytes, the token's ID
//	36  commitment   32
//	68  nonce        12
//	80  ciphertext   of the frame
//	    tag          16
//
//	frame = u16 length, space | u16 length, subject | payload
//	A     = "face/token/v1" 0x00 | header[0:36] | u32 length, tenant | u32 length, purpose | u32 length, audience
//	K     = HKDF-SHA-256(secret of the key id, salt, info = A), 64 bytes
//
// K[0:32] encrypts the frame by AES-256-GCM with A as additional data; K[32:64] is the commitment, which is compared in
// constant time before anything is decrypted. A template's payload ([AppendTemplate]) is
//
//	0  format   1
//	1  dim      u16
//	3  scale    u8, the largest by which all numbers fit, 126 at most
//	4  quality  u8
//	5  numbers  i16[dim], each × 2^-scale
//
// 512 numbers, a space of 64 bytes and a person of 8 make 1,604 characters.
//
// # Why so
//
// The commitment: whoever sends a token chooses its key id, and under GCM alone one ciphertext can be made that opens under
// two keys. A key derived for each token: 16 bytes of salt and 12 of nonce are random, so no number of tokens
// that can be issued comes near the limit of random nonces, and a commitment comes with it at no cost. The space by its
// whole name and the subject are inside, not in A, so that a token of a space which the server left is told from a forged
// one. Texts of A carry their lengths, or ("ab", "c") would be ("a", "bc").
//
// PASETO would encode a photo in base64 twice; JWE lets the token choose algorithms and compression. XChaCha20-Poly1305
// is neither approved by FIPS 140-3 nor committing.
//
// # Keys
//
// A tenant has up to 64 keys of 32 bytes, made for this alone (random and wrapped in the key store, or derived from the
// tenant's key); the first seals and all open ([Sealer.SetKeys]). To rotate, put a new one first and leave the old one
// until what it sealed has expired. Leaving a key out revokes its tokens, also those without expiry. Single tokens that are
// not single use can't be revoked.
//
// # Threats
//
//   - A client that reads, changes or forges tokens, or brings another person's or device's: 1, 2; Want.Subject and
//     Want.Audience must be filled in, empty ones bind nothing.
//   - A client that brings a token twice: single use, for as long as the record of uses lasts. A [Memory] refuses what was
//     issued before it began, so a restart opens nothing twice but a token issued and used in the very second of the
//     restart. Several processes that share keys need a [Spent] that they share.
//   - A client that fills the memory of uses: only authentic tokens get there, and [ErrFull] refuses more; 65,536 tokens,
//     some 64 bytes each, unless Config.Spent says otherwise. Then single-use tokens don't open until others expire.
//   - A tenant that brings another's tokens: separate keys, and A. Which key ids exist can be learned by time; they are
//     not secret.
//   - A server whose clock is wrong: tokens open Config.Skew longer and earlier than they say. If it is set back, expired
//     ones that are not single use open again, but none that a [Memory] took for used.
//   - Not stopped: whoever has a key reads and makes tokens; a token's type, times, key, mark of the space and length are
//     in the clear; a token that is stolen unused opens for the thief within its bindings; opened payloads are in memory
//     until the collector frees them.
package token
