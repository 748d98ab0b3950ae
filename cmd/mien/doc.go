// Command mien is the face matching engine: a server, and a client for the shell.
//
//	mien serve --data DIR --listen ADDR [--tls-cert FILE --tls-key FILE]
//	mien backup [create] | list | verify | prune; mien restore --from FOLDER --data DIR
//	mien enroll | identify | verify | compare | extract | dedupe | hygiene | jobs | galleries | keys | encryption | erase | export | import | packs | doctor | version
//	mien evaluate | bench
//
// serve, doctor and `--data` of keys, encryption, erase, export, import and backup work on a data folder, of which a running server is the only user; evaluate, bench,
// restore, what `backup` does with a folder, and packs work on their own, with neither (bench http with a server if told); everything else talks to a server by its public API, with the key of --key, --key-file
// or MIEN_KEY.
//
// # Settings
//
// Every flag may also come from the environment (MIEN_…, named in --help) or from a JSON file (--config FILE, keys
// are flag names). A flag on the command line wins over the environment, the environment over the file. serve logs what it
// uses, without secrets.
//
// # Model packs
//
// --models DIR may be given several times (MIEN_MODELS: folders with commas between them). Each pack is an embedding space:
// the first is the default, and a gallery of another takes photos by that one's models. Each pack has its own workers.
//
// # TLS
//
// With --tls-cert and --tls-key serve speaks https (TLS 1.2 or 1.3); --tls-client-ca demands certificates of the clients
// too. The files are read again every few seconds and at SIGHUP, and taken when they changed and fit each other; what is
// wrong with them is logged, and the ones before stay in use. Open connections go on. An address beyond this machine is
// refused without TLS, unless --insecure-listen says that a proxy or a private network protects it. The client commands
// take --ca, and --client-cert with --client-key.
//
// # Data folder
//
//	DIR/store/       the store (package engine)
//	DIR/keys/        the key store: keys of tenants and of the store, wrapped by the master key
//	DIR/master.key   wraps them; 64 hex digits, 0600; made at the first start unless one is given
//	DIR/admin.key    the first API key: administrator of the tenant "default", may make keys for every tenant
//
// A store without its master key, or without its key store, can't be opened by anyone. Keep a copy of the master key elsewhere, or
// keep the key elsewhere in the first place (--master-key); and copies of the key store apart from those of the store, for a
// week or so only (--key-dir puts it elsewhere): a person who was erased is gone from old copies of the store once no key opens them.
//
// --master-key-command takes the master key from what a command prints. serve forbids core dumps of itself, and others of its
// user to look into it, on Linux, unless --allow-core-dumps is given; keys and templates are in its memory.
//
// # Files of people
//
// export and import read and write the files of engine/transfer. import notes how far it came beside the file
// (FILE.progress) once what it notes is durable; with --resume it goes on from there, if file, gallery and place are the same.
// Whoever was written after the last note is written again, which does no harm.
//
// # Exit codes
//
//	0  done (verify and compare: a match)
//	1  failed, with one line on stderr
//	2  verify and compare: no match; identify: nobody; extract: no face, or none that passes the gate; enroll and import: some
//	   photos or people were refused; dedupe: there are pairs; hygiene: references conflict or look wrong; erase --prove: something
//	   is left
//	80 the command line is wrong
package main
