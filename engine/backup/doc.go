// Package backup keeps sealed, incremental copies of sets of files in a folder: the files of a store, as of one moment
// each. It knows nothing of what the files hold.
//
// It promises: a backup is there whole or not at all, whenever the process or the machine stops; a file that the folder has
// already is not written again; without the key a backup folder tells how many files and bytes there are and when they
// came, and nothing else; damage, or a file that is another's, is named and never returned. It refuses: folders that hold
// something else, other keys, formats it does not know, paths that leave the place they are restored to.
//
//	FOLDER/mien-backup        the marker: a line of text with the format
//	FOLDER/backups/ID         a backup: its manifest, sealed. ID is NNNNNN-YYYYMMDDThhmmssZ; numbers only grow
//	FOLDER/files/NAME         a file of one or more backups, sealed. NAME is 64 hex digits that its content and the key make
//	FOLDER/**/*.tmp           being written, or left behind by a crash
//	FOLDER/LOCK               held by who writes
//
// # Sealing
//
// Values of a store are sealed already, but its keys hold ids of people in the clear, so every file is sealed here, whole:
//
//	magic "mienseal" · format u32 · salt[32] · commitment[32] · CRC-32C u32 of all before · chunks
//	chunk: nonce[12] · ciphertext of 1 MiB, the last of 0 to 1 MiB · tag[16]
//
// Integers are little-endian. From the folder's key and the salt, HKDF-SHA-256 (RFC 5869) makes the stream's own key and the
// commitment. A chunk is AES-256-GCM; its additional data are a label, the kind and name of the stream, the number of
// the chunk, and whether it is the last. This is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO
// 2015), but that number and last mark are in the additional data and the nonce is random, which is the form that FIPS
// 140-3 allows: with a key of its own for each stream and at most 2^32 chunks of it, nonces don't meet (SP 800-38D, 8.3).
//
//	B1  Chunks can't be reordered, left out, repeated, cut off or mixed with another stream's: number, last mark and the
//	    stream's own key are what a tag is made with. What is read of a chunk was written for that place.
//	B2  GCM does not commit to its key. The commitment does, so that a wrong key is told apart from damage, and no stream opens under
//	    two keys.
//	B3  A manifest states size and SHA-256 of each file and is bound to its ID, so a file in another's place, or a manifest
//	    under another ID, is told. Who can write to the folder can remove backups, and put back what was there, all of
//	    it; nobody without the key can make one that opens.
//	B4  NAME is HMAC-SHA-256 of the content's SHA-256 under a key made of the folder's: equal content has one name, which tells nobody
//	    what the content is.
//
// Seal and OpenSealed are for one stream by itself, such as a file of people, under the caller's key, kind and no name: a backup's stream
// doesn't open as one, nor one as a backup's.
//
// There is no header of the folder that everything hangs on: a manifest and the files it names are enough, with the key.
//
// # Writing
//
//	B5  One process at a time writes to a folder: it holds LOCK. Reading needs no lock, and works on a read-only disk.
//	B6  A file is written under a temporary name, synced, and renamed. The manifest is written the same way, last, after the
//	    folder files has been synced: what a manifest names is durable before the manifest is there.
//	B7  Prune removes manifests first and syncs, then what no manifest names. It removes no file if a manifest that stays can't be
//	    read: that one may name it.
//	B8  A file of the wrong size is written again. So what Verify finds damaged can be removed, and the next backup mends it, if
//	    the store still has that content.
//
// A table of a store is immutable and its name is not used again in the history of one store. Two histories may use a
// name twice: a store that was put back went its own way. So a table is believed to be the one of the last backup, and not read, only
// if path, size, time of modification in nanoseconds and SHA-256 of its last 64 KiB agree: there a table has its index and
// properties with checksums of their own. Every other file is read.
//
// # Formats
//
//	1  first
package backup
