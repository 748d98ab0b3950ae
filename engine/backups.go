package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mien/engine/backup"
)

// Backup is what is told of one backup.
type Backup = backup.Info

// BackupStatus is what this engine's backups do.
type BackupStatus struct {
	Running   bool    `json:"running"`
	DoneBytes int64   `json:"done_bytes,omitempty"` // of the one that runs
	AllBytes  int64   `json:"all_bytes,omitempty"`  // 0 until it is known
	Last      *Backup `json:"last,omitempty"`       // the last that was made by this engine
	Failure   string  `json:"failure,omitempty"`    // of the last that ended, if it failed
}

// backups is the one backup that may run, and what came of the last.
type backups struct {
	sync.Mutex
	status BackupStatus
	done   chan struct{} // closed when the one that runs has ended; nil where none was begun
	err    error         // of the last that ended
}

// BackupKey is the key of backup folders that have none of their own, made of the store's master key. Errors: ErrConfig.
func BackupKey(masterKey []byte) ([]byte, error) {
	if len(masterKey) != MasterKeyBytes {
		return nil, fmt.Errorf("%w: the master key has %d bytes, want %d", ErrConfig, len(masterKey), MasterKeyBytes)
	}
	s, err := newSealer(masterKey)
	if err != nil {
		return nil, err
	}
	return s.derive(backupKeyInfo), nil
}

const backupKeyInfo = "mien backup folder v1"

// StartBackup begins a backup to Config.BackupDir, which goes on when the call has returned; BackupStatus tells of it.
// Searches and writes go on; writers wait while the store's files are linked. Errors: ErrNoBackupDir, ErrBackupRunning,
// ErrStorageFailed, ErrClosed, ctx's.
func (e *Engine) StartBackup(ctx context.Context) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	if e.backupDir == "" {
		return errNoBackupDir
	}
	if e.store.fs.isHalted() {
		return errStorageFailed
	}
	e.backups.Lock()
	defer e.backups.Unlock()
	if e.backups.status.Running {
		return errBackupRunning
	}
	e.backups.status = BackupStatus{Running: true, Last: e.backups.status.Last}
	e.backups.done = make(chan struct{})
	e.checking.Go(e.runBackup)
	return nil
}

// WaitBackup waits for the backup that runs, if one does, and returns what came of the last one. Errors: its; ctx's, then it
// goes on.
func (e *Engine) WaitBackup(ctx context.Context) (Backup, error) {
	e.backups.Lock()
	done := e.backups.done
	e.backups.Unlock()
	if done == nil {
		return Backup{}, errors.New("engine: no backup was begun")
	}
	select {
	case <-done:
	case <-ctx.Done():
		return Backup{}, ctx.Err()
	}
	e.backups.Lock()
	defer e.backups.Unlock()
	if e.backups.err != nil {
		return Backup{}, e.backups.err
	}
	return *e.backups.status.Last, nil
}

// BackupStatus says what backups do. Errors: ErrNoBackupDir, ErrClosed, ctx's.
func (e *Engine) BackupStatus(ctx context.Context) (BackupStatus, error) {
	if err := e.enter(ctx); err != nil {
		return BackupStatus{}, err
	}
	defer e.leave()
	if e.backupDir == "" {
		return BackupStatus{}, errNoBackupDir
	}
	e.backups.Lock()
	defer e.backups.Unlock()
	return e.backups.status, nil
}

// runBackup makes the backup that StartBackup announced.
func (e *Engine) runBackup() {
	begin := time.Now()
	made, err := e.backUp(e.stopped)
	if err != nil {
		e.log.Error("backup failed", "error", err)
	} else {
		e.log.Info("backup made", "backup", made.ID, "sequence", made.Sequence, "files", made.Files, "bytes", made.Bytes,
			"new_files", made.NewFiles, "new_bytes", made.NewBytes, "ms", time.Since(begin).Milliseconds())
	}
	e.backups.Lock()
	defer e.backups.Unlock()
	e.backups.status = BackupStatus{Last: e.backups.status.Last}
	if e.backups.err = err; err != nil {
		e.backups.status.Failure = failureText(err)
	} else {
		e.backups.status.Last = &made
	}
	close(e.backups.done)
}

// failureText is what clients are told of a backup that failed: what to do, and no internals.
func failureText(err error) string {
	for _, known := range []error{backup.ErrKey, backup.ErrNotEmpty, backup.ErrInUse, backup.ErrFormat, backup.ErrFull} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if text := Detail(err); text != "" {
		return text
	}
	return "the cause is in the server's log"
}

// backUp makes one backup. The backup folder is opened first: a checkpoint that can't be used would cost writers their time.
func (e *Engine) backUp(ctx context.Context) (made Backup, err error) {
	folder, err := backup.Create(e.store.fs.FS, e.backupDir, e.backupKey)
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	begin := e.store.now()
	defer e.dropCheckpoint()
	c, err := e.checkpoint(ctx)
	if err != nil {
		return made, err
	}
	return folder.Write(ctx, backup.Spec{Time: begin, Sequence: c.sequence, Store: c.format, Program: e.program, WithoutKeys: e.keysApart,
		Sources: c.sources, FS: e.store.fs.FS, Reserve: e.store.disk.minFree, Progress: e.backups.progress})
}

func (b *backups) progress(done, all int64) {
	b.Lock()
	defer b.Unlock()
	b.status.DoneBytes, b.status.AllBytes = done, all
}
