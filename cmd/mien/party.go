package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"mien/engine"
	"mien/engine/mpc"
	"mien/extract/pack"
	"mien/http"
)

type partyCmd struct {
	Run    partyRunCmd    `cmd:"" default:"withargs" help:"Serve as the party that the certificate names (the default)."`
	Seal   partySealCmd   `cmd:"" help:"Split a template and seal a share for each party, for a request whose server is not to see the template."`
	Name   partyNameCmd   `cmd:"" help:"Print the pseudonyms by which the parties know a person, from the key of the gateway."`
	Unlock partyUnlockCmd `cmd:"" help:"Forget what this party, which must be stopped, has counted of attempts at a person."`
	Init   partyInitCmd   `cmd:"" help:"Make the keys of a party or gateway, and print the pin by which the others know it."`
}

type partyRunCmd struct {
	logFlags
	Data         string            `help:"The party's folder, as mien party init makes it: tls.crt, tls.key, kek.key, share.key, policies.json and, once it runs, store." env:"MIEN_PARTY_DATA" default:"party" type:"path"`
	Cluster      string            `help:"Name of the installation, the same at all parties and gateways." env:"MIEN_PARTY_CLUSTER" default:"mien"`
	Listen       string            `help:"Address at which the party before and the gateways reach this one." env:"MIEN_PARTY_LISTEN" default:"127.0.0.1:7100"`
	Next         string            `help:"Address of the next party: of 1 for 0, of 2 for 1, of 0 for 2." env:"MIEN_PARTY_NEXT" placeholder:"HOST:PORT"`
	Pin          map[string]string `help:"Who may speak with this party, and by which key: party0=HEX;party1=HEX;party2=HEX;gateway-0=HEX." env:"MIEN_PARTY_PINS" placeholder:"ROLE=HEX;..."`
	Kek          string            `name:"kek" help:"File with the key that wraps the keys of the store, 64 hex digits (default: DIR/kek.key)." env:"MIEN_PARTY_KEK_FILE" type:"path" placeholder:"FILE"`
	Policies     string            `help:"File of thresholds and budgets, which no gateway can change (default: DIR/policies.json)." env:"MIEN_PARTY_POLICIES" type:"path" placeholder:"FILE"`
	RoundTimeout time.Duration     `help:"How long a peer may take to answer; the same at all parties and gateways." env:"MIEN_PARTY_ROUND_TIMEOUT" default:"2s"`
	Status       string            `help:"Address at which a monitor has GET /healthz, /readyz and /metrics of this party, over HTTP, without a key: one that your monitoring alone reaches." env:"MIEN_PARTY_STATUS" placeholder:"HOST:PORT"`
	CoreDumps    bool              `name:"allow-core-dumps" help:"Let the system write this process's memory, with shares and keys in it, to disk when it crashes." env:"MIEN_ALLOW_CORE_DUMPS"`
	ListenFD     int               `name:"listen-fd" hidden:""`   // of serve --parties dev, which holds the port
	WithParent   bool              `name:"with-parent" hidden:""` // end when stdin does
}

// Names of files of a party's or gateway's folder.
const (
	tlsCertFile   = "tls.crt"
	tlsKeyFile    = "tls.key"
	kekFile       = "kek.key"
	shareKeyFile  = "share.key"
	directoryFile = "directory.key"
	policiesFile  = "policies.json"
)

// partyBallast is memory that is never touched, and so takes none: the collector waits for as much garbage more. What lives of a party without a
// searched gallery is a few MB, which it would mark ten times a second under load, for a fifth of the processor (profiled).
const partyBallast = 64 << 20

// Run serves until a signal.
func (c *partyRunCmd) Run(ctx context.Context) error {
	log, flush := c.logger(os.Stderr)
	defer flush()
	if !c.CoreDumps {
		if err := forbidDumps(); err != nil {
			return err
		}
	}
	ballast := make([]byte, partyBallast)
	defer runtime.KeepAlive(ballast)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.WithParent {
		go func() { // ends with the process
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	config, err := c.config()
	if err != nil {
		return err
	}
	config.Logger = log.With("party", config.Index)
	warnReadable(config.Logger, filepath.Join(c.Data, tlsKeyFile), filepath.Join(c.Data, shareKeyFile), or(c.Kek, c.Data, kekFile))
	if config.ShareKey == nil {
		config.Logger.Info("party: the folder has no share.key, so shares that clients sealed are refused: mien party init makes one")
	}
	var monitors net.Listener
	if c.Status != "" {
		if monitors, err = listen(c.Status, true); err != nil { // it tells nothing of people
			return fmt.Errorf("--status: %w", listenError(c.Status, err))
		}
		defer monitors.Close()
	}
	if config.Listener, err = c.listener(); err != nil {
		return err
	}
	p, err := mpc.OpenParty(config)
	if err != nil {
		_ = config.Listener.Close()
		return fmt.Errorf("party folder %s: %w", c.Data, err)
	}
	if monitors != nil {
		config.Logger.Info("party: answers monitors", "status", monitors.Addr().String())
		go func() { // ends with the process
			if err := (http.PartyStatus{Index: config.Index, Status: p.Status}).Serve(ctx, monitors); err != nil {
				config.Logger.Warn("party: monitors are not answered any more", "error", err)
			}
		}()
	}
	config.Logger.Info("party: serving", "version", version, "address", config.Listener.Addr().String(), "next", c.Next, "data", c.Data, "pin", pinText(config.Identity.Pin()))
	return p.Serve(ctx)
}

// config is what the flags and the folder say, without the listener.
func (c *partyRunCmd) config() (config mpc.PartyConfig, err error) {
	if c.Next == "" {
		return config, errors.New("--next must name the address of the next party")
	}
	if config.Identity, err = readIdentity(c.Data); err != nil {
		return config, err
	}
	index, ok := config.Identity.Role.Party()
	if !ok {
		return config, fmt.Errorf("the certificate in %s is that of %s, not of a party: mien party init --role party0", c.Data, config.Identity.Role)
	}
	config.Index, config.Cluster, config.Next, config.Timeout = index, c.Cluster, c.Next, c.RoundTimeout
	config.Dir = c.Data
	if config.Pins, err = parsePins(c.Pin); err != nil {
		return config, err
	}
	if err := needPins(config.Pins, index); err != nil {
		return config, err
	}
	if config.Policies, err = readPolicies(or(c.Policies, c.Data, policiesFile)); err != nil {
		return config, err
	}
	if config.ShareKey, err = readShareKey(c.Data); err != nil {
		return config, err
	}
	kek, err := readKey(or(c.Kek, c.Data, kekFile))
	if err != nil {
		return config, err
	}
	defer clear(kek)
	config.Root, err = engine.NewRootKey(kek)
	return config, err
}

// needPins refuses a party that would let nobody in.
func needPins(pins mpc.Pins, index int) error {
	var missing []string
	for _, i := range []int{(index + 1) % mpc.Parties, (index + 2) % mpc.Parties} {
		if _, ok := pins[mpc.PartyRole(i)]; !ok {
			missing = append(missing, string(mpc.PartyRole(i)))
		}
	}
	gateway := false
	for role := range pins {
		_, is := role.Gateway()
		gateway = gateway || is
	}
	if !gateway {
		missing = append(missing, string(mpc.GatewayRole(0)))
	}
	if missing != nil {
		return fmt.Errorf("--pin lacks %s, who could not connect: mien party init prints each one's pin", strings.Join(missing, ", "))
	}
	return nil
}

// warnReadable says of files of a folder that they can be read by others.
func warnReadable(log *slog.Logger, files ...string) {
	for _, file := range files {
		if secret(file, "warn") != nil {
			log.Warn("a key can be read by others: chmod 600 " + file)
		}
	}
}

func (c *partyRunCmd) listener() (net.Listener, error) {
	if c.ListenFD == 0 {
		l, err := listen(c.Listen, true) // mutual TLS always
		if err != nil {
			return nil, listenError(c.Listen, err)
		}
		return l, nil
	}
	f := os.NewFile(uintptr(c.ListenFD), "listener")
	if f == nil {
		return nil, fmt.Errorf("--listen-fd %d is not open", c.ListenFD)
	}
	defer f.Close()
	return net.FileListener(f)
}

// or is path, or the file of a folder.
func or(path, dir, name string) string {
	if path != "" {
		return path
	}
	return filepath.Join(dir, name)
}

func readIdentity(dir string) (mpc.Identity, error) {
	cert, err := os.ReadFile(filepath.Join(dir, tlsCertFile))
	if err != nil {
		return mpc.Identity{}, fmt.Errorf("%s can't be read: %w (mien party init makes it)", filepath.Join(dir, tlsCertFile), reason(err))
	}
	key, err := os.ReadFile(filepath.Join(dir, tlsKeyFile))
	if err != nil {
		return mpc.Identity{}, fmt.Errorf("%s can't be read: %w", filepath.Join(dir, tlsKeyFile), reason(err))
	}
	defer clear(key)
	return mpc.ParseIdentity(cert, key)
}

func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the key %s can't be read: %w; without it the store can't be opened: put it back from your copy", path, reason(err))
	}
	defer clear(text)
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != engine.MasterKeyBytes {
		return nil, fmt.Errorf("the key in %s is not %d hex digits", path, 2*engine.MasterKeyBytes)
	}
	return key, nil
}

func readPolicies(path string) (*mpc.Policies, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the policies %s can't be read: %w", path, reason(err))
	}
	p, err := mpc.ParsePolicies(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// parsePins reads pins by role.
func parsePins(texts map[string]string) (mpc.Pins, error) {
	pins := make(mpc.Pins, len(texts))
	for role, text := range texts {
		pin, err := hex.DecodeString(text)
		if !mpc.Role(role).Valid() || err != nil || len(pin) != len(mpc.Pin{}) {
			return nil, fmt.Errorf("the pin %s=%s is not a role (party0 to party2, gateway-N) and the 64 hex digits that mien party init prints", role, text)
		}
		pins[mpc.Role(role)] = mpc.Pin(pin)
	}
	return pins, nil
}

func pinText(p mpc.Pin) string { return hex.EncodeToString(p[:]) }

type partyInitCmd struct {
	Dir    string `arg:"" help:"Folder to make; nothing that is in it is replaced." type:"path"`
	Role   string `help:"party0, party1, party2, or gateway-N of a server." required:"" placeholder:"ROLE"`
	Models string `help:"Folders of the model packs that policies.json is made for, as serve has them (default: beside the program)." env:"MIEN_MODELS" placeholder:"DIR"`
}

// partyMade is what init prints.
type partyMade struct {
	Role     string `json:"role"`
	Pin      string `json:"pin"`
	SharePin string `json:"share_pin,omitempty"` // of the key that clients seal shares to
	ShareKey string `json:"share_key,omitempty"` // that key, base64
	Dir      string `json:"dir"`
	// Spaces are the policies of embedding spaces, as the file of serve --parties has them.
	Spaces map[string]uint16 `json:"spaces"`
}

// Run makes the keys, and the policies of the packs.
func (c *partyInitCmd) Run(out *output) error {
	var models []string
	if c.Models != "" {
		models = filepath.SplitList(c.Models)
	}
	_, models = modelFlags{Models: models}.paths()
	var spaces []engine.Space
	for _, dir := range models {
		m, err := pack.Load(dir)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(spaces, func(s engine.Space) bool { return s.ID == m.Space }) {
			spaces = append(spaces, space(m))
		}
	}
	id, err := initParty(c.Dir, mpc.Role(c.Role), spaces...)
	if err != nil {
		return err
	}
	made, share := partyMade{Role: c.Role, Pin: pinText(id.Pin()), Dir: c.Dir, Spaces: policiesOf(spaces)}, ""
	key, err := readShareKey(c.Dir)
	if err != nil {
		return err
	}
	if key != nil {
		public := key.PublicKey().Bytes()
		made.ShareKey, made.SharePin = base64.StdEncoding.EncodeToString(public), pinText(mpc.PinOfShareKey(public))
		share = "\nshare pin " + made.SharePin + " (give it to clients that seal shares themselves; --json has the whole key)"
	}
	text := fmt.Sprintf("%s in %s\npin %s%s\npolicies.json holds the thresholds; read it, and have \"policies\" the same at all parties and gateways. By policy:", made.Role, relative(c.Dir), made.Pin, share)
	for _, s := range spaces {
		text += fmt.Sprintf("\n%d: embedding space %s", made.Spaces[s.ID], s.ID)
	}
	return out.print(made, text)
}

// initParty makes the folder of a role with its keys and policies, all for their owner alone. What is there is kept: it is to be called
// again after a crash. Errors: mpc.ErrOther, where the folder is another role's.
func initParty(dir string, role mpc.Role, of ...engine.Space) (id mpc.Identity, err error) {
	if !role.Valid() {
		return id, fmt.Errorf("there is no role %q: party0, party1, party2, or gateway-N", role)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return id, fmt.Errorf("folder %s can't be made: %w", dir, reason(err))
	}
	if id, err = initIdentity(dir, role); err != nil {
		return id, err
	}
	if id.Role != role {
		return id, fmt.Errorf("%s: %w: it is that of %s", dir, mpc.ErrOther, id.Role)
	}
	names := []string{kekFile, shareKeyFile}
	if _, party := role.Party(); !party {
		names = []string{directoryFile}
	}
	for _, name := range names {
		err = errors.Join(err, writeNew(filepath.Join(dir, name), newMasterKey()))
	}
	err = errors.Join(err, writeNew(filepath.Join(dir, policiesFile), policiesText(of, role)))
	return id, err
}

// initIdentity reads the identity of a folder, or makes one: the certificate comes last, so it has its key.
func initIdentity(dir string, role mpc.Role) (id mpc.Identity, err error) {
	if id, err = readIdentity(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if id, err = mpc.NewIdentity(role); err != nil {
		return id, err
	}
	cert, key, err := id.PEM()
	if err != nil {
		return id, err
	}
	defer clear(key)
	if err := os.Remove(filepath.Join(dir, tlsKeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an init that was cut off
		return id, err
	}
	return id, errors.Join(writeNew(filepath.Join(dir, tlsKeyFile), strings.TrimSpace(string(key))), writeNew(filepath.Join(dir, tlsCertFile), strings.TrimSpace(string(cert))))
}

// writeNew is writeSecret for a file that is kept if it is there.
func writeNew(path, text string) error {
	if err := writeSecret(path, text); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s can't be written: %w", path, reason(err))
	}
	return nil
}

// policiesOf are the policies of embedding spaces in the files that init makes: of each space one, and the next for searches.
func policiesOf(spaces []engine.Space) map[string]uint16 {
	ids := make(map[string]uint16, len(spaces))
	for i, s := range spaces {
		ids[s.ID] = uint16(2*i + 1)
	}
	return ids
}

// False match rates of those policies: that of the engine's verifications, and one that a search of 10,000 reaches once in a hundred.
const (
	partyVerifyFMR   = 1e-4
	partyIdentifyFMR = 1e-6
)

// policiesText is a file of policies for embedding spaces, as mpc.ParsePolicies reads it. A party's has the default budgets, to be changed there: of
// identifications none, as they follow from the record's.
func policiesText(spaces []engine.Space, role mpc.Role) string {
	type policy struct {
		Model   uint16  `json:"model"`
		Dim     int     `json:"dim"`
		Scale   int     `json:"log2_scale"`
		Cosine  float64 `json:"cosine"`
		Check   string  `json:"check,omitempty"`
		Gallery uint16  `json:"gallery,omitempty"`
	}
	policies, ids := make(map[uint16]policy), policiesOf(spaces)
	for i, s := range spaces {
		id, model := ids[s.ID], uint16(i+1)
		policies[id] = policy{model, s.Dim, mpc.VerifyLogScale, rounded(s.Calibration.CosineAt(partyVerifyFMR)), "full", id + 1}
		policies[id+1] = policy{model, s.Dim, mpc.IdentifyLogScale, min(rounded(s.Calibration.CosineAt(partyIdentifyFMR)), 0.95), "full", 0}
	}
	file := map[string]any{"policies": policies}
	if _, party := role.Party(); party {
		file["budgets"] = mpc.Budgets{Record: mpc.DefaultRecordBudget, Tenant: mpc.DefaultTenantBudget}
	}
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		panic("BUG: policies do not marshal: " + err.Error())
	}
	return string(b)
}

// rounded is a cosine to four decimals, which is what sharing keeps of it.
func rounded(cosine float64) float64 { return float64(int(cosine*1e4+0.5)) / 1e4 }
