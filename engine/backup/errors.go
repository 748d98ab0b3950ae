package backup

import "errors"

// Errors of this package.
var (
	// ErrNoFolder says that a folder is none of backups.
	ErrNoFolder = errors.New("backup: this is not a backup folder")
	// ErrNotEmpty says that a folder without the marker holds something, which is left alone.
	ErrNotEmpty = errors.New("backup: the folder is neither empty nor a backup folder: name another")
	// ErrNoBackup says that a folder has no backup of an id, or none at all.
	ErrNoBackup = errors.New("backup: there is no such backup")
	// ErrKey says that the key is not the one that a file was sealed with.
	ErrKey = errors.New("backup: the key does not open this: give the key the backup was made with")
	// ErrFormat says that a newer version of this program wrote the folder.
	ErrFormat = errors.New("backup: written by a newer version: use that version or later")
	// ErrDamaged says that a file is missing, or is not what was written.
	ErrDamaged = errors.New("backup: damaged")
	// ErrInUse says that another process writes to the folder.
	ErrInUse = errors.New("backup: another process writes to this backup folder")
	// ErrFull says that the folder's disk has too little room.
	ErrFull = errors.New("backup: the backup folder's disk has too little room")
)
