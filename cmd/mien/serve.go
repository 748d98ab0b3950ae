package main

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/term"

	"mien/engine"
	"mien/http"
	"mien/simd"
)

// modelFlags say where the library and the models are.
type modelFlags struct {
	Library string   `help:"ONNX Runtime's shared library (default: beside the program)." env:"MIEN_LIBRARY" type:"path" placeholder:"FILE"`
	Models  []string `help:"Folders of model packs, each of an embedding space of its own; the first is the default (default: beside the program)." env:"MIEN_MODELS" type:"path" placeholder:"DIR"`
}

// paths fills in the places where `make` puts things: lib/ and models/ beside the program. models has one folder at least.
func (m modelFlags) paths() (library string, models []string) {
	beside := "."
	if exe, err := os.Executable(); err == nil {
		beside = filepath.Dir(exe)
	}
	library, models = m.Library, m.Models
	if library == "" {
		name := "libonnxruntime.so"
		if runtime.GOOS == "darwin" {
			name = "libonnxruntime.dylib"
		}
		library = filepath.Join(beside, "lib", runtime.GOOS+"-"+runtime.GOARCH, name)
	}
	if len(models) == 0 {
		models = []string{filepath.Join(beside, "models", "default")}
	}
	return library, models
}

// limitFlags bound what the server takes on.
type limitFlags struct {
	Workers        int           `help:"Photos worked on at once, a core each." env:"MIEN_WORKERS" default:"${cores}"`
	Queue          int           `help:"Photos that may wait for a worker." env:"MIEN_QUEUE" default:"128"`
	MaxPixels      int           `help:"Largest photo in pixels; a JPEG may have twice as many." env:"MIEN_MAX_PIXELS" default:"25000000"`
	MaxBody        int           `help:"Largest request in bytes." env:"MIEN_MAX_BODY" default:"16777216"`
	MaxBodies      int           `help:"Bytes of all requests in flight." env:"MIEN_MAX_BODIES" default:"536870912"`
	MaxConns       int           `help:"Open connections." env:"MIEN_MAX_CONNS" default:"1024"`
	MaxRequests    int           `help:"Requests in flight." env:"MIEN_MAX_REQUESTS" default:"256"`
	KeyRate        float64       `help:"Requests a second of a key that states no rate of its own; 0: no limit." env:"MIEN_KEY_RATE" default:"0"`
	KeyBurst       int           `help:"Requests at once of such a key; 0: those of a second." env:"MIEN_KEY_BURST" default:"0"`
	AuthFailures   int           `help:"Keys that are no good that an address may send a minute; -1: no limit." env:"MIEN_AUTH_FAILURES" default:"60"`
	Attempts       int           `name:"attempt-failures" help:"Failed verifications of one person in --attempt-window; -1: no limit." env:"MIEN_ATTEMPT_FAILURES" default:"10"`
	AttemptWindow  time.Duration `help:"Time from the first failed verification of a person until the count begins anew." env:"MIEN_ATTEMPT_WINDOW" default:"15m"`
	RequestTimeout time.Duration `help:"Time for one request." env:"MIEN_REQUEST_TIMEOUT" default:"10s"`
	DrainDelay     time.Duration `help:"How long /readyz says no before a stop." env:"MIEN_DRAIN_DELAY" default:"0s"`
	RecallSample   float64       `help:"Share of searches answered again exactly in the background, in 1 % of the time at most, to count what indexes miss; -1: none." env:"MIEN_RECALL_SAMPLE" default:"0.001"`
	Audit          string        `help:"When decisions are answered: once their audit record is in a queue (async), on the disk (sync), or without one (writes)." env:"MIEN_AUDIT" enum:"async,sync,writes" default:"async"`
	AuditDays      int           `help:"Days that audit records are kept; 0: for ever." env:"MIEN_AUDIT_DAYS" default:"0"`
	MinFree        int64         `help:"Free bytes on the disk below which writes are refused; -1: never." env:"MIEN_MIN_FREE" default:"268435456"`
}

// Validate is called by kong: a limit that can't be must be refused before anything is made.
func (l limitFlags) Validate() error {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"workers", int64(l.Workers)}, {"queue", int64(l.Queue)}, {"max-pixels", int64(l.MaxPixels)}, {"max-body", int64(l.MaxBody)},
		{"max-conns", int64(l.MaxConns)}, {"max-requests", int64(l.MaxRequests)}, {"request-timeout", int64(l.RequestTimeout)},
	} {
		if f.value < 1 {
			return fmt.Errorf("--%s must be more than 0", f.name)
		}
	}
	if l.MaxBodies < l.MaxBody {
		return fmt.Errorf("--max-bodies (%d) must be at least --max-body (%d)", l.MaxBodies, l.MaxBody)
	}
	if l.DrainDelay < 0 || l.MinFree == 0 || l.MinFree < -1 {
		return errors.New("--drain-delay must not be negative, and --min-free must be more than 0, or -1")
	}
	if !(l.KeyRate >= 0 && l.KeyRate <= engine.MaxKeyRate) || l.KeyBurst < 0 || l.KeyBurst > 0 && l.KeyRate == 0 {
		return fmt.Errorf("--key-rate must be from 0 to %d, and --key-burst, which goes with it, not negative", int(engine.MaxKeyRate))
	}
	if l.AuthFailures == 0 || l.AuthFailures < -1 {
		return errors.New("--auth-failures must be more than 0, or -1")
	}
	if l.AuditDays < 0 || l.AuditDays > engine.MaxRetentionDays {
		return fmt.Errorf("--audit-days must be from 0 to %d", engine.MaxRetentionDays)
	}
	if l.Attempts == 0 || l.Attempts < -1 || l.Attempts > 1e6 || l.AttemptWindow < time.Second || l.AttemptWindow > engine.MaxAttemptWindow {
		return fmt.Errorf("--attempt-failures must be from 1 to 1000000, or -1, and --attempt-window from 1s to %v", engine.MaxAttemptWindow)
	}
	if r := l.RecallSample; !(r > 0 && r <= 1) && r != -1 {
		return errors.New("--recall-sample must be more than 0 and at most 1, or -1")
	}
	return nil
}

type serveCmd struct {
	modelFlags
	providerFlags
	masterKeyFlags
	limitFlags
	tlsFlags
	simdFlags
	backupKeyFlags
	BackupWithoutKeys bool          `name:"backup-without-keys" help:"Leave the key store out of backups, so that keys that are destroyed reach them; copy it yourself, and keep that for a week or so only." env:"MIEN_BACKUP_WITHOUT_KEYS"`
	BackupDir         string        `help:"Folder that POST /v1/backup and mien backup write to; another disk's, or a mounted one, is worth more." env:"MIEN_BACKUP_DIR" type:"path" placeholder:"FOLDER"`
	RotateDays        float64       `help:"Days after which the key that seals a tenant's people is rotated: for so long, and the life of the key store's backups, backups of the store hold who was erased; 0: never." env:"MIEN_ROTATE_DAYS" default:"7"`
	CoreDumps         bool          `name:"allow-core-dumps" help:"Let the system write this process's memory, with keys and templates in it, to disk when it crashes." env:"MIEN_ALLOW_CORE_DUMPS"`
	Data              string        `help:"Data folder; made if it is not there." env:"MIEN_DATA" default:"data" type:"path"`
	Listen            string        `help:"Address to serve on." env:"MIEN_LISTEN" default:"127.0.0.1:8080"`
	PublicURL         string        `name:"public-url" help:"Scheme and host by which clients reach the server, where a proxy is between: https://faces.example." env:"MIEN_PUBLIC_URL" placeholder:"URL"`
	HookHTTP          bool          `name:"webhook-http" help:"Let webhooks go to http: URLs." env:"MIEN_WEBHOOK_HTTP"`
	HookLocal         bool          `name:"webhook-private" help:"Let webhooks go to addresses that are not public, this machine's and its networks': whoever administers a tenant names them." env:"MIEN_WEBHOOK_PRIVATE"`
	Insecure          bool          `name:"insecure-listen" help:"Listen beyond this machine without TLS, where a proxy or a private network keeps others out." env:"MIEN_INSECURE_LISTEN"`
	Parties           string        `help:"Decentralised matching: the file that says where the three parties are, or dev, to try it out: three child processes below the data folder, which are one trust domain." env:"MIEN_PARTIES" placeholder:"FILE"`
	RepairParty       int           `help:"With --parties: fill the new store of the party of this number, which has lost its own, from the other two; it is done once." env:"MIEN_REPAIR_PARTY" default:"-1"`
	RefreshShares     time.Duration `help:"With --parties: how often all shares are made anew, so that those that are stolen at different times fit nothing; 0: never." env:"MIEN_REFRESH_SHARES" default:"24h"`
	Canaries          time.Duration `help:"With --parties: how often, on average and at random times, the parties are asked about people whom nobody is, of each gallery that has decentralised people; a wrong answer is an error in the log; 0: never." env:"MIEN_CANARIES" default:"3h"`
	logFlags
}

// logFlags say what is logged, and how.
type logFlags struct {
	LogFormat string `help:"Format of the log on stderr: text, json or auto (text on a terminal)." env:"MIEN_LOG_FORMAT" enum:"auto,text,json" default:"auto"`
	LogLevel  string `help:"Least level that is logged." env:"MIEN_LOG_LEVEL" enum:"debug,info,warn,error" default:"info"`
}

// maxRotateDays is longer than anybody should keep a key.
const maxRotateDays = 3650

// stopTimeout is how long accepted requests may take to finish after a signal.
const stopTimeout = 30 * time.Second

// Run serves until a signal, then finishes what it accepted.
func (c *serveCmd) Run(ctx context.Context, out *output) error {
	log, flush := c.logger(os.Stderr)
	defer flush()
	if c.RotateDays < 0 || !(c.RotateDays <= maxRotateDays) {
		return fmt.Errorf("--rotate-days must be from 0 to %d", maxRotateDays)
	}
	if !c.CoreDumps {
		if err := forbidDumps(); err != nil {
			return err
		}
	}
	if err := c.use(); err != nil {
		return err
	}
	certificate, err := c.open(log)
	if err != nil {
		return err
	}
	ln, err := listen(c.Listen, c.Insecure || certificate != nil) // before the data: a busy port must change nothing on disk
	if err != nil {
		return listenError(c.Listen, err)
	}
	defer ln.Close()
	defer follow(ctx, certificate)()
	packs, err := c.loadPacks(log)
	if err != nil {
		return err
	}
	defer closing(log, "extractor", packs.close)
	data := dataDir{c.Data, c.masterKeyFlags}
	e, err := c.engine(data, packs.spaces(), packs, log)
	if err != nil {
		return err
	}
	defer closing(log, "engine", e.Close)
	if err := data.firstKey(ctx, e); err != nil {
		return err
	}
	parties, err := c.openParties(ctx, packs.spaces(), log)
	if err != nil {
		return err
	}
	defer closing(log, "parties", parties.close)
	config := c.httpConfig(e, packs, log)
	config.Decentralised = parties.serves
	if certificate != nil {
		config.TLS = certificate.Config
	}
	server, err := http.New(config)
	if err != nil {
		return err
	}
	parties.test(server, c.Canaries)
	c.announce(out, log, address(ln.Addr(), certificate), data, packs.spaces(), parties.greeting)
	return serveUntil(ctx, server, ln, log)
}

func (c *serveCmd) engine(data dataDir, spaces []engine.Space, packs packs, log *slog.Logger) (*engine.Engine, error) {
	key, err := c.own()
	if err != nil {
		return nil, err
	}
	if err := data.create(); err != nil {
		return nil, err
	}
	return data.open(engine.Config{Spaces: spaces, MinFreeBytes: c.MinFree, RecallSample: c.RecallSample, Audit: c.Audit, AuditKeep: time.Duration(c.AuditDays) * 24 * time.Hour,
		Attempts:    engine.Attempts{Failures: max(c.Attempts, 0), Window: c.AttemptWindow},
		RotateEvery: time.Duration(c.RotateDays * 24 * float64(time.Hour)), Extract: packs.extract, Logger: log,
		BackupDir: c.BackupDir, BackupKey: key, BackupWithoutKeys: c.BackupWithoutKeys, Program: "mien " + version})
}

func (c *serveCmd) httpConfig(e *engine.Engine, packs packs, log *slog.Logger) http.Config {
	return http.Config{
		Engine: e, Extractor: packs.first(), Extractors: packs.further(), Logger: log, DrainDelay: c.DrainDelay, RequestTimeout: c.RequestTimeout, PublicURL: c.PublicURL,
		WebhookHTTP: c.HookHTTP, WebhookPrivate: c.HookLocal,
		MaxBodyBytes: c.MaxBody, MaxBodyBytesInFlight: c.MaxBodies, MaxConns: c.MaxConns, MaxRequests: c.MaxRequests,
		KeyRate: c.KeyRate, KeyBurst: c.KeyBurst, AuthFailures: c.AuthFailures,
	}
}

// serveUntil serves until ctx ends or accepting fails.
func serveUntil(ctx context.Context, server *http.Server, ln net.Listener, log *slog.Logger) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping: finishing what was accepted")
	stop, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	err := <-failed
	log.Info("stopped")
	return err
}

func closing(log *slog.Logger, what string, c func() error) {
	if err := c(); err != nil {
		log.Error("close "+what, "error", err)
	}
}

// errInClear refuses an address that others can reach, without TLS.
var errInClear = errors.New("in clear beyond this machine")

// listen keeps to IPv4 where an IPv4 address is named: 0.0.0.0 must not open [::] as well. An address beyond this machine
// is opened only if beyond says so, and otherwise not even for a moment: errInClear.
func listen(addr string, beyond bool) (net.Listener, error) {
	network := "tcp"
	if host, _, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).To4() != nil {
		network = "tcp4"
	}
	tcp, err := net.ResolveTCPAddr(network, addr)
	if err != nil {
		return nil, err
	}
	if !beyond && !tcp.IP.IsLoopback() {
		return nil, errInClear
	}
	return net.ListenTCP(network, tcp)
}

func listenError(addr string, err error) error {
	switch {
	case errors.Is(err, errInClear):
		return fmt.Errorf("%s can be reached from other machines, and keys and biometrics would travel in clear: give --tls-cert and --tls-key, or --insecure-listen if a proxy does TLS (environment: MIEN_TLS_CERT and MIEN_TLS_KEY, or MIEN_INSECURE_LISTEN=true)", addr)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use by another program: stop it, or choose another address with --listen (make run: LISTEN=)", addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s may not be opened by this user: choose a port from 1024 on with --listen", addr)
	}
	return fmt.Errorf("can't listen on %s: %w", addr, err)
}

// logger writes to a file; what it keeps back for a moment, flush writes.
func (c logFlags) logger(to *os.File) (log *slog.Logger, flush func()) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		panic("BUG: kong let through log level " + c.LogLevel)
	}
	o := &slog.HandlerOptions{Level: level}
	w := newLogWriter(to)
	if c.LogFormat == "text" || c.LogFormat == "auto" && term.IsTerminal(int(to.Fd())) {
		return slog.New(logHandler{slog.NewTextHandler(w, o), w}), w.flush
	}
	return slog.New(logHandler{jsonHandler{slog.NewJSONHandler(w, o), w}, w}), w.flush
}

// announce logs the effective configuration and says on stdout where the server is and what to try.
func (c *serveCmd) announce(out *output, log *slog.Logger, url string, data dataDir, spaces []engine.Space, parties string) {
	library, models := c.paths()
	log.Info("mien", "version", version, "url", url, "data", data.path, "backups", c.BackupDir, "library", library, "models", models,
		"spaces", idsOf(spaces), "limits", fmt.Sprintf("%+v", c.limitFlags), "cores", runtime.GOMAXPROCS(0), "simd", simd.Level(),
		"fips140", fips140.Enabled())
	if c.Insecure && c.TLSCert == "" {
		log.Warn("--insecure-listen: keys and biometrics travel in clear: let nobody reach this address but a proxy that does TLS", "url", url)
	}
	// Nothing depends on the greeting: a closed stdout must not stop the server.
	said := map[string]string{"url": url, "admin_key_file": data.adminKey()}
	if parties != "" {
		said["parties"] = parties
	}
	_ = out.print(said, greeting(url, data)+parties)
}

// relative shortens a path below the current folder, for printing.
func relative(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
			return rel
		}
	}
	return path
}

// greeting ends in a call that works as printed: with the test pictures in a checkout, without them elsewhere.
func greeting(url string, data dataDir) string {
	hello := fmt.Sprintf("\nmien %s serves on %s\nAPI: %s/openapi.json\n", version, url, url)
	if _, err := os.Stat(data.adminKey()); err != nil {
		return hello + fmt.Sprintf("admin key: there is no %s; use the key that you have, or %s\n", relative(data.adminKey()), data.anotherKey())
	}
	key := relative(data.adminKey())
	call := fmt.Sprintf("  curl -H \"Authorization: Bearer $(cat '%s')\" %s/v1/galleries", key, url)
	a, b := "testdata/faces/a_1.jpg", "testdata/faces/a_2.jpg"
	if _, err := os.Stat(a); err == nil {
		call = fmt.Sprintf("  curl -H \"Authorization: Bearer $(cat '%s')\" -F source=@%s -F target=@%s %s/v1/compare", key, a, b, url)
	}
	return hello + fmt.Sprintf("admin key: %s\nTry:\n%s\n", key, call)
}
