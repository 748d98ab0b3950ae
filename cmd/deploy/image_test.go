package deploy

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var build = flag.Bool("build", false, "take the image's build steps too: minutes")

// root is the repository's.
const root = "../.."

// instruction is a line of a Dockerfile.
type instruction struct {
	name  string
	flags map[string]string
	args  string
}

type stage struct {
	name, from string
	steps      []instruction
}

type dockerfile []stage

// theDockerfile is the one at the root: as much of the syntax as that has.
func theDockerfile(t *testing.T) (d dockerfile) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, args, _ := strings.Cut(line, " ")
		if name == "FROM" {
			f := strings.Fields(args)
			if len(f) != 3 || f[1] != "AS" {
				t.Fatalf("%s: want FROM image AS name", line)
			}
			d = append(d, stage{name: f[2], from: f[0]})
			continue
		}
		i := instruction{name: name, flags: map[string]string{}}
		for strings.HasPrefix(args, "--") {
			var option string
			option, args, _ = strings.Cut(args, " ")
			k, v, _ := strings.Cut(option[2:], "=")
			i.flags[k] = v
		}
		i.args = args
		if len(d) == 0 || strings.HasSuffix(line, `\`) {
			t.Fatalf("%s: not understood here", line)
		}
		d[len(d)-1].steps = append(d[len(d)-1].steps, i)
	}
	return d
}

func (d dockerfile) stage(name string) *stage {
	i := slices.IndexFunc(d, func(s stage) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return &d[i]
}

// image are the steps of the last stage and of those that it is made from.
func (d dockerfile) image() (steps []instruction) {
	for s := &d[len(d)-1]; s != nil; s = d.stage(s.from) {
		steps = append(slices.Clone(s.steps), steps...)
	}
	return steps
}

// last is the argument of the last such step of the image.
func (d dockerfile) last(name string) (args string) {
	for _, i := range d.image() {
		if i.name == name {
			args = i.args
		}
	}
	return args
}

func (d dockerfile) env() map[string]string {
	m := map[string]string{}
	for _, i := range d.image() {
		if i.name == "ENV" {
			for pair := range strings.FieldsSeq(i.args) {
				k, v, _ := strings.Cut(pair, "=")
				m[k] = v
			}
		}
	}
	return m
}

// TestDockerfile: the image has what the program needs, and no rights that it does not.
func TestDockerfile(t *testing.T) {
	d := theDockerfile(t)
	if len(d) < 4 || d[len(d)-1].name != "mien" || d[len(d)-1].from != "bare" {
		t.Fatalf("stages %+v", d)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	if want := fmt.Sprintf("golang:%s-bookworm", version[1]); d.stage("build").from != want {
		t.Errorf("the build stage is %s, go.mod wants %s", d.stage("build").from, want)
	}
	for _, i := range d.image() {
		if i.name == "RUN" || i.name == "ADD" || i.name == "COPY" && i.flags["from"] != "build" {
			t.Errorf("%s %s: the image is copied from the build", i.name, i.args)
		}
	}
	for name, want := range map[string]string{"USER": "65532:65532", "EXPOSE": "8080", "VOLUME": d.env()["MIEN_DATA"], "STOPSIGNAL": "SIGTERM",
		"ENTRYPOINT": `["/opt/mien/mien"]`, "CMD": `["serve"]`} {
		if got := d.last(name); got != want {
			t.Errorf("%s %s, want %s", name, got, want)
		}
	}
	if !strings.HasSuffix(d.env()["MIEN_LISTEN"], ":"+d.last("EXPOSE")) || d.env()["MIEN_INSECURE_LISTEN"] != "" {
		t.Errorf("the image listens on %s, in clear: %q", d.env()["MIEN_LISTEN"], d.env()["MIEN_INSECURE_LISTEN"])
	}
}

var buildProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mien-deploy-*")
	if err != nil {
		return "", err
	}
	made = dir
	path := filepath.Join(dir, "mien")
	out, err := exec.Command("go", "build", "-o", path, "mien/cmd/mien").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

var made string // by buildProgram

func program(t *testing.T) string {
	t.Helper()
	path, err := buildProgram()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if made != "" {
		os.RemoveAll(made)
	}
	os.Exit(code)
}

func shell(t *testing.T, dir, command string, env ...string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", command)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// source is the build stage's folder when its steps are done: all of them with -build, else from what make has left here.
func source(t *testing.T, d dockerfile, dir string) {
	t.Helper()
	here := false // the steps before WORKDIR are about the base image
	for _, i := range d.stage("build").steps {
		switch {
		case i.name == "WORKDIR":
			here = true
		case !here || i.name == "ARG":
		case i.name == "COPY" && i.args == ". ." && *build:
			abs, err := filepath.Abs(dir)
			if err != nil {
				t.Fatal(err)
			}
			shell(t, root, "git ls-files -z --cached --others --exclude-standard | tar --null -cf - -T - | tar -xf - -C '"+abs+"'")
		case i.name == "COPY" && i.args == ". .":
			shell(t, root, "mkdir '"+dir+"/build' && cp LICENSE '"+dir+"' && cp -r build/lib build/models '"+dir+"/build' && cp '"+program(t)+"' '"+dir+"/build/mien'")
		case i.name == "COPY":
			names := strings.Fields(i.args)
			shell(t, root, "cp "+strings.Join(names[:len(names)-1], " ")+" '"+dir+"'")
		case i.name == "RUN" && !*build && (strings.HasPrefix(i.args, "go ") || strings.HasPrefix(i.args, "make ")):
		case i.name == "RUN":
			shell(t, dir, i.args, "VERSION=test", "MAKEFLAGS=", "DATA=", "LISTEN=")
		default:
			t.Fatalf("%s %s: not understood here", i.name, i.args)
		}
	}
}

// unpack copies to an empty folder what the image copies from the build.
func unpack(t *testing.T, d dockerfile, src, image string) {
	t.Helper()
	for _, i := range d.image() {
		if i.name != "COPY" {
			continue
		}
		names := strings.Fields(i.args)
		from, ok := strings.CutPrefix(names[0], "/src/")
		if len(names) != 2 || !ok {
			t.Fatalf("COPY %s: not understood here", i.args)
		}
		shell(t, src, fmt.Sprintf("mkdir -p '%s%s' && cp -r '%s.' '%s%s'", image, names[1], from, image, names[1]))
		copied, err := os.ReadDir(filepath.Join(src, from))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range copied { // what is copied, not where to
			at := "." + filepath.Join(names[1], e.Name())
			if owner := i.flags["chown"]; owner != "" && os.Geteuid() == 0 {
				shell(t, image, "chown -R "+owner+" "+at)
			}
			if mode := i.flags["chmod"]; mode != "" {
				shell(t, image, "chmod -R "+mode+" "+at)
			}
		}
	}
}

// debianHas are the libraries that are part of debian:bookworm-slim (libc6, libgcc-s1, libstdc++6).
var debianHas = regexp.MustCompile(`^(ld-linux.*\.so\.\d|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|resolv)\.so\.\d)$`)

// libraries are those that the image's programs need; all are Debian's.
func libraries(t *testing.T, image string) []string {
	t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir(image, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := elf.Open(path)
		if err != nil {
			return nil // no program
		}
		defer f.Close()
		needed, err := f.ImportedLibraries()
		for _, l := range needed {
			if all[l] = true; !debianHas.MatchString(l) {
				t.Errorf("%s needs %s, which the base image lacks", path, l)
			}
		}
		return err
	})
	if err != nil || !all["libc.so.6"] || !all["libstdc++.so.6"] {
		t.Fatal(all, err)
	}
	return slices.Collect(maps.Keys(all))
}

// TestImage: what the image consists of is enough to serve, as the image's user, and stops when it is told to.
func TestImage(t *testing.T) {
	if *build && testing.Short() {
		t.Skip("skipped: -build takes minutes")
	}
	d := theDockerfile(t)
	src := t.TempDir()
	image, err := os.MkdirTemp("", "mien-image-*") // not below a folder that only we may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(image) })
	if err := os.Chmod(image, 0o755); err != nil {
		t.Fatal(err)
	}
	source(t, d, src)
	unpack(t, d, src, image)
	var have []string
	err = filepath.WalkDir(image, func(path string, e fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(image, path); err == nil && strings.Count(rel, "/") < 3 {
			have = append(have, rel)
		}
		return err
	})
	if want := ". data opt opt/mien opt/mien/LICENSE opt/mien/lib opt/mien/mien opt/mien/models"; err != nil || strings.Join(have, " ") != want {
		t.Errorf("the image has %v (%v), want %s", have, err, want)
	}
	libs := libraries(t, image)
	s := run(t, d, image, libs)
	s.wantReady(t)
	s.stop(t)
	for _, name := range []string{"admin.key", "master.key", "store"} {
		info, err := os.Stat(filepath.Join(image, d.env()["MIEN_DATA"], name))
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t); isolated() && fmt.Sprint(owner.Uid, ":", owner.Gid) != d.last("USER") || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %d:%d's, %v", name, owner.Uid, owner.Gid, info.Mode())
		}
	}
}

// served is the image's program, running.
type served struct {
	cmd  *exec.Cmd
	port string
	log  *bytes.Buffer
}

// run starts the image's command with its environment and nothing else: as root in a root, a mount namespace and with the user of the
// image's own, where the machine allows that; elsewhere in its folder.
func run(t *testing.T, d dockerfile, image string, libs []string) *served {
	t.Helper()
	env := d.env()
	env["MIEN_LISTEN"] = "127.0.0.1:0"
	var entry, args []string
	for dst, text := range map[*[]string]string{&entry: d.last("ENTRYPOINT"), &args: d.last("CMD")} {
		if err := json.Unmarshal([]byte(text), dst); err != nil {
			t.Fatal(err)
		}
	}
	args = append([]string{"--json"}, args...)
	s := &served{log: new(bytes.Buffer)}
	user, group, _ := strings.Cut(d.last("USER"), ":")
	if isolated() {
		addLibraries(t, image, libs)
		const script = `mount -t proc proc "$1/proc"; image="$1"; user="$2:$3"; shift 3; exec chroot --userspec="$user" --groups= "$image" "$@"`
		s.cmd = exec.Command("unshare", append([]string{"-m", "sh", "-euc", script, "sh", image, user, group, entry[0]}, args...)...)
	} else {
		t.Log("not isolated: this machine lets us have no root of our own")
		env["MIEN_DATA"] = filepath.Join(image, env["MIEN_DATA"])
		s.cmd = exec.Command(filepath.Join(image, entry[0]), args...)
		s.cmd.Dir = filepath.Join(image, "data")
	}
	s.cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for name, value := range env {
		s.cmd.Env = append(s.cmd.Env, name+"="+value)
	}
	s.start(t)
	return s
}

// isolated reports whether we may have a mount namespace and a root of our own.
var isolated = sync.OnceValue(func() bool {
	for _, tool := range [][]string{{"unshare", "-m", "true"}, {"chroot", "--version"}, {"ldconfig", "-p"}} {
		if os.Geteuid() != 0 || exec.Command(tool[0], tool[1:]...).Run() != nil {
			return false
		}
	}
	return true
})

// addLibraries gives the image what its base has of libraries, and an empty /proc.
func addLibraries(t *testing.T, image string, libs []string) {
	t.Helper()
	out, err := exec.Command("ldconfig", "-p").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, lib := range libs {
		m := regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(lib) + ` .*=> (/\S+)$`).FindSubmatch(out)
		if m == nil {
			t.Fatalf("this machine has no %s", lib)
		}
		path := string(m[1])
		shell(t, image, "mkdir -p ."+filepath.Dir(path)+" && cp -L "+path+" ."+path)
		if strings.HasPrefix(lib, "ld-linux") { // its place is in the programs
			shell(t, image, "mkdir -p lib64 && cp -L "+path+" lib64/ && cp -L "+path+" lib/")
		}
	}
	shell(t, image, "mkdir -p proc")
}

func (s *served) start(t *testing.T) {
	t.Helper()
	s.cmd.Stderr = s.log
	stdout, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	var hello struct{ URL string }
	if err := json.NewDecoder(stdout).Decode(&hello); err != nil {
		_ = s.cmd.Wait()
		t.Fatalf("no greeting: %v\n%s", err, s.log)
	}
	s.port = hello.URL[strings.LastIndex(hello.URL, ":")+1:]
}

// wantReady asks for health as Kubernetes' probes do, and as the compose file does.
func (s *served) wantReady(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/healthz", "/readyz"} {
		if status := get(t, s.port, path); status != "200" {
			t.Errorf("%s: %s\n%s", path, status, s.log)
		}
	}
	check := compose(t).Health.Test
	if len(check) < 2 || check[0] != "CMD" {
		t.Fatal(check)
	}
	for i := range check {
		check[i] = strings.NewReplacer("8080", s.port, "$$", "$").Replace(check[i])
	}
	if out, err := exec.Command(check[1], check[2:]...).CombinedOutput(); err != nil {
		t.Errorf("the compose file's check: %v\n%s", err, out)
	}
	check[len(check)-1] = strings.Replace(check[len(check)-1], "/readyz", "/nothing", 1)
	if err := exec.Command(check[1], check[2:]...).Run(); err == nil {
		t.Error("the compose file's check is content with anything")
	}
}

func get(t *testing.T, port, path string) (status string) {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if _, status, _ = strings.Cut(line, " "); err != nil || len(status) < 3 {
		t.Fatalf("%q %v", line, err)
	}
	return status[:3]
}

// stop ends it with the image's signal.
func (s *served) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%v\n%s", err, s.log)
		}
	case <-ctx.Done():
		t.Errorf("does not stop\n%s", s.log)
	}
}
