package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"mien/engine"
)

type backupCmd struct {
	Create backupCreateCmd `cmd:"" default:"withargs" help:"Make a backup: of a stopped data folder, or by a server that has a --backup-dir."`
	List   backupListCmd   `cmd:"" help:"List the backups in a folder."`
	Verify backupVerifyCmd `cmd:"" help:"Read backups without restoring them, and say what is damaged."`
	Prune  backupPruneCmd  `cmd:"" help:"Remove all backups but the newest."`
}

// backupKeyFlags say what opens a backup folder: a key of its own, or one made of the store's master key.
type backupKeyFlags struct {
	BackupKey string `name:"backup-key" help:"File with a key of the backup folder's own, 64 hex digits (default: one made of the master key)." env:"MIEN_BACKUP_KEY_FILE" type:"path" placeholder:"FILE"`
}

// own is the folder's own key, nil if it has none.
func (f backupKeyFlags) own() ([]byte, error) {
	return keyFile(f.BackupKey, "backup key")
}

// keyFile reads a key of 64 hex digits; nil if no file is named.
func keyFile(path, what string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s %s can't be read: %w", what, path, reason(err))
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != engine.MasterKeyBytes {
		return nil, fmt.Errorf("the %s in %s is not %d hex digits (make one: openssl rand -hex 32)", what, path, 2*engine.MasterKeyBytes)
	}
	return key, nil
}

// folderFlags name a backup folder and its key.
type folderFlags struct {
	masterKeyFlags
	backupKeyFlags
	Data   string `help:"Data folder whose master.key made the backup." type:"path" placeholder:"DIR"`
	Folder string `arg:"" help:"The backup folder." type:"path"`
}

// keys are the folder's, and the master key, nil if nobody named it.
func (f folderFlags) keys() (folder, master []byte, err error) {
	if folder, err = f.own(); err != nil {
		return nil, nil, err
	}
	if f.MasterKey == "" && f.MasterKeyText == "" && f.Data == "" {
		if folder == nil {
			return nil, nil, errors.New("say what opens the backups: --master-key FILE, --data DIR with its master.key, or --backup-key FILE")
		}
		return folder, nil, nil
	}
	if master, err = (dataDir{f.Data, f.masterKeyFlags}).masterKey(); err != nil {
		return nil, nil, err
	}
	if folder == nil {
		folder, err = engine.BackupKey(master)
	}
	return folder, master, err
}

func (f folderFlags) open() (folder engine.BackupFolder, master []byte, err error) {
	key, master, err := f.keys()
	keys := f.KeyDir
	if keys == "" && f.Data != "" {
		keys = filepath.Join(f.Data, "keys")
	}
	return engine.BackupFolder{Dir: f.Folder, Key: key, KeyDir: keys}, master, err
}

type backupCreateCmd struct {
	remote
	masterKeyFlags
	backupKeyFlags
	Data string `help:"Back up this stopped data folder instead of asking a server." type:"path" placeholder:"DIR"`
	To   string `help:"With --data: the backup folder, made if it is not there." type:"path" placeholder:"FOLDER"`

	WithoutKeys bool `name:"without-keys" help:"With --data: leave the key store out, so that keys that are destroyed there reach the backups; copy it yourself, and keep that for a week or so only. A server does as its --backup-without-keys says."`
}

// Run makes a backup and waits for it.
func (c *backupCreateCmd) Run(ctx context.Context, out *output) error {
	if (c.Data == "") != (c.To == "") {
		return errors.New("--data and --to go together; without them the server that --server names backs up to its --backup-dir")
	}
	if c.WithoutKeys && c.Data == "" {
		return errors.New("--without-keys goes with --data: a server leaves keys out of backups if it was started with --backup-without-keys")
	}
	backUp := c.onServer
	if c.Data != "" {
		backUp = c.onData
	}
	made, err := backUp(ctx)
	if err != nil {
		return err
	}
	return out.print(made, backupLine(made))
}

func (c *backupCreateCmd) onData(ctx context.Context) (made engine.Backup, err error) {
	data := dataDir{c.Data, c.masterKeyFlags}
	if !data.hasStore() {
		return made, fmt.Errorf("data folder %s has no store", c.Data)
	}
	key, err := c.own()
	if err != nil {
		return made, err
	}
	e, err := data.open(engine.Config{BackupDir: c.To, BackupKey: key, BackupWithoutKeys: c.WithoutKeys, Program: "mien " + version})
	if err != nil {
		return made, err
	}
	defer func() {
		if closed := e.Close(); err == nil {
			err = closed
		}
	}()
	if err := e.StartBackup(ctx); err != nil {
		return made, err
	}
	defer watchBackup(ctx, e)()
	return e.WaitBackup(ctx)
}

// watchBackup shows how a backup does until stop is called.
func watchBackup(ctx context.Context, e *engine.Engine) (stop func()) {
	show, ended := byteBar("backing up"), make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		for pause(ctx, 200*time.Millisecond) {
			if s, err := e.BackupStatus(ctx); err == nil {
				show(s.DoneBytes, s.AllBytes)
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// pause waits and says whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// onServer begins a backup of a server's and asks until it has ended.
func (c *backupCreateCmd) onServer(ctx context.Context) (made engine.Backup, err error) {
	s, err := c.client()
	if err != nil {
		return made, err
	}
	if err := s.do(ctx, "POST", "/v1/backup", struct{}{}, nil); err != nil {
		return made, err
	}
	show := byteBar("backing up")
	for {
		var status engine.BackupStatus
		if err := s.do(ctx, "GET", "/v1/backup", nil, &status); err != nil {
			return made, err
		}
		switch {
		case status.Running:
			show(status.DoneBytes, status.AllBytes)
		case status.Failure != "":
			return made, errors.New(status.Failure)
		case status.Last == nil:
			return made, errors.New("the server was restarted before the backup had ended: there is none")
		default:
			return *status.Last, nil
		}
		if !pause(ctx, 200*time.Millisecond) {
			return made, ctx.Err()
		}
	}
}

// byteBar shows on a terminal how much is done.
func byteBar(what string) func(done, all int64) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(int64, int64) {}
	}
	var bar *progressbar.ProgressBar
	return func(done, all int64) {
		if all == 0 {
			return
		}
		if bar == nil || bar.GetMax64() != all {
			bar = progressbar.NewOptions64(all, progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
				progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
		}
		_ = bar.Set64(done)
	}
}

func backupLine(b engine.Backup) string {
	line := fmt.Sprintf("%s\t%s\twrite %d\t%d files, %d bytes\t%d new, %d bytes", b.ID, b.Time.Local().Format(time.DateTime), b.Sequence,
		b.Files, b.Bytes, b.NewFiles, b.NewBytes)
	if b.WithoutKeys {
		line += "\twithout keys"
	}
	return line
}

// checkedBackup is a backup with what is wrong with it, as printed.
type checkedBackup struct {
	engine.Backup
	Problems []string `json:"problems,omitempty"`
}

// printBackups prints backups and what is wrong with them.
func printBackups(out *output, all []engine.BackupCheck) (bad int, err error) {
	list, lines := make([]checkedBackup, len(all)), []string{}
	for i, b := range all {
		list[i].Backup = b.Backup
		if b.Err == nil {
			lines = append(lines, backupLine(b.Backup))
			continue
		}
		bad++
		list[i].Problems = strings.Split(b.Err.Error(), "\n")
		lines = append(lines, b.ID+"\tDAMAGED\t"+strings.Join(list[i].Problems, "\n\t"))
	}
	return bad, out.print(map[string]any{"backups": list}, strings.Join(lines, "\n"))
}

type backupListCmd struct{ folderFlags }

// Run lists the backups of a folder, oldest first.
func (c *backupListCmd) Run(out *output) error {
	folder, _, err := c.folderFlags.open()
	if err != nil {
		return err
	}
	all, err := folder.List()
	if err != nil {
		return err
	}
	_, err = printBackups(out, all)
	return err
}

type backupVerifyCmd struct {
	folderFlags
	Backup string `help:"Only this one." placeholder:"ID"`
	Open   bool   `help:"Also open the store in each backup, without restoring it, and every person, template and photo in it; needs the master key."`
}

// Run verifies backups; damage is an error.
func (c *backupVerifyCmd) Run(ctx context.Context, out *output) error {
	folder, master, err := c.folderFlags.open()
	if err != nil {
		return err
	}
	if c.Open && master == nil {
		return errors.New("--open needs the master key: --master-key FILE, or --data DIR with its master.key")
	}
	if !c.Open {
		master = nil
	}
	all, err := folder.Verify(ctx, c.Backup, master, byteBar("verifying"))
	if err != nil {
		return err
	}
	bad, err := printBackups(out, all)
	if err == nil && bad > 0 {
		err = fmt.Errorf("%d of %d backups can't be restored; remove a damaged file by its name, and the next backup writes it again if the store still has it", bad, len(all))
	}
	return err
}

type backupPruneCmd struct {
	folderFlags
	Keep int `help:"How many of the newest backups stay." required:""`
}

// Run removes old backups and what only they need.
func (c *backupPruneCmd) Run(out *output) error {
	if c.Keep < 1 {
		return errors.New("--keep must be at least 1")
	}
	folder, _, err := c.folderFlags.open()
	if err != nil {
		return err
	}
	p, err := folder.Prune(c.Keep)
	if err != nil {
		return err
	}
	return out.print(p, fmt.Sprintf("removed %d backups, %d files, %d bytes", len(p.Backups), p.Files, p.Bytes))
}

type restoreCmd struct {
	masterKeyFlags
	backupKeyFlags
	From   string `help:"The backup folder." type:"path" required:"" placeholder:"FOLDER"`
	Backup string `help:"Which backup (default: the newest)." placeholder:"ID"`
	Data   string `help:"Data folder to restore to: it must not be there, or hold nothing but a master.key." type:"path" required:"" placeholder:"DIR"`
}

// Run makes a data folder of a backup.
func (c *restoreCmd) Run(ctx context.Context, out *output) error {
	key, err := c.own()
	if err != nil {
		return err
	}
	if key == nil {
		master, err := dataDir{c.Data, c.masterKeyFlags}.masterKey()
		if err != nil {
			return err
		}
		if key, err = engine.BackupKey(master); err != nil {
			return err
		}
	}
	made, err := engine.Restore(ctx, engine.RestoreSpec{From: c.From, ID: c.Backup, Key: key, Dir: c.Data, KeyDir: c.KeyDir, Progress: byteBar("restoring")})
	if err != nil {
		return err
	}
	return out.print(made, fmt.Sprintf("%s is as it was after write %d, of %s\nserve it with the master key of that time: mien serve --data %s --master-key FILE",
		relative(c.Data), made.Sequence, made.Time.Local().Format(time.DateTime), relative(c.Data)))
}
