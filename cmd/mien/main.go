package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"mien/bench"
	"mien/engine"
)

// version is set by the linker.
var version = "development"

// exitNegative is the exit code of an answer that is no error and no yes.
const exitNegative = 2

// errNegative ends a command with exitNegative; what there is to say was said.
var errNegative = errors.New("negative answer")

type cli struct {
	Config kong.ConfigFlag `help:"JSON file of settings; its keys are flag names." type:"existingfile" placeholder:"FILE"`
	JSON   bool            `help:"Print JSON: one object, or one a line." name:"json"`

	Serve      serveCmd      `cmd:"" help:"Serve the API from a data folder."`
	Party      partyCmd      `cmd:"" help:"Hold one of three shares of the templates of decentralised matching; make the keys for that. Flags of the holder itself: mien party run --help."`
	Enroll     enrollCmd     `cmd:"" help:"Enrol a folder of person/photo files."`
	Identify   identifyCmd   `cmd:"" help:"Search a gallery for the person on a photo."`
	Verify     verifyCmd     `cmd:"" help:"Check that a photo shows a person of a gallery."`
	Compare    compareCmd    `cmd:"" help:"Check that two photos show one person."`
	Extract    extractCmd    `cmd:"" help:"Show the faces of a photo, with what is judged of them."`
	Dedupe     dedupeCmd     `cmd:"" help:"Find who is in a gallery twice: all pairs of people above a threshold. Exit code 2 if there are any."`
	Hygiene    hygieneCmd    `cmd:"" help:"Find references that look wrong: conflicting, mislabelled, of one template only, old. Exit code 2 if any conflict or match none of their person's others."`
	Jobs       jobsCmd       `cmd:"" help:"List, cancel and delete jobs."`
	Galleries  galleriesCmd  `cmd:"" help:"Create, list, show, change and delete galleries."`
	People     peopleCmd     `cmd:"" help:"Show people, suspend them, change their metadata."`
	Keys       keysCmd       `cmd:"" help:"Create, list and revoke API keys, on a stopped data folder or through a server."`
	Erase      eraseCmd      `cmd:"" help:"Erase a person, or a tenant, with a signed receipt."`
	Encryption encryptionCmd `cmd:"" help:"Rotate the key that seals a tenant and its people."`
	Audit      auditCmd      `cmd:"" help:"List, export and verify the audit log."`
	Backup     backupCmd     `cmd:"" help:"Make, list, verify and prune backups."`
	Restore    restoreCmd    `cmd:"" help:"Make a data folder of a backup."`
	Packs      packsCmd      `cmd:"" help:"List, check and add model packs."`
	Doctor     doctorCmd     `cmd:"" help:"Check library, models, processor and data folder, and say what to mend."`
	Bench      benchCmd      `cmd:"" help:"Measure this machine."`
	Evaluate   evaluateCmd   `cmd:"" help:"Measure error rates on your own photos, with charts; write a calibration file."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Export     exportCmd     `cmd:"" help:"Write a gallery's people with their templates to a file, from a server or a stopped data folder."`
	Import     importCmd     `cmd:"" help:"Write the people of a file into a gallery of a server or a stopped data folder."`
}

// output is where a command writes its results.
type output struct{ json bool }

func main() {
	syscall.Umask(0o077) // whatever is made beside the keys is the owner's alone
	var c cli
	k := kong.Parse(&c, kong.Name("mien"), kong.Configuration(settingsFile),
		kong.Description("A self-hosted face matching engine: verify, identify, find duplicates."),
		kong.Vars{"cores": strconv.Itoa(runtime.GOMAXPROCS(0)), "bench_kinds": strings.Join(bench.Kinds(), ","), "bench_kind": bench.Kinds()[0],
			"bench_variants": strings.Join(bench.Variants(), ", "), "bench_ops": strings.Join(operationNames(), ", ")},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	k.BindTo(engine.WithActor(ctx, commandActor(k.Command())), (*context.Context)(nil))
	err := k.Run(&output{json: c.JSON})
	stop()
	if errors.Is(err, errNegative) {
		os.Exit(exitNegative)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, printable(fmt.Sprintf("mien: %v", err)))
		os.Exit(1)
	}
}

// commandActor is who a store's records say acted, where a command works on a stopped data folder: the command, whose
// path kong gives with its arguments' names.
func commandActor(path string) engine.Actor {
	command, _, _ := strings.Cut(path, " <")
	return engine.Actor{Program: "mien " + command}
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(out *output) error {
	return out.print(map[string]string{"version": version}, "mien "+version)
}

// settings are those of a JSON file by flag name.
type settings map[string]any

// settingsFile reads a JSON file of settings: flag names, with - or _, and their values.
func settingsFile(r io.Reader) (kong.Resolver, error) {
	raw := map[string]any{}
	if err := json.NewDecoder(r).Decode(&raw); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	s := settings{}
	for name, value := range raw {
		s[strings.ReplaceAll(name, "_", "-")] = value
	}
	return s, nil
}

// Validate refuses names that no command has: a setting that is passed over in silence may be the one that mattered.
func (s settings) Validate(app *kong.Application) error {
	known := map[string]bool{}
	var collect func(*kong.Node)
	collect = func(n *kong.Node) {
		for _, f := range n.Flags {
			known[f.Name] = true
		}
		for _, child := range n.Children {
			collect(child)
		}
	}
	collect(app.Node)
	for name := range s {
		if !known[name] {
			return fmt.Errorf("--config: there is no setting %q", name)
		}
	}
	return nil
}

// Resolve gives a flag's value from the file, unless an environment variable is set for it.
func (s settings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	return s[flag.Name], nil
}
