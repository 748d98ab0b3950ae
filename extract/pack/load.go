package pack

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

var (
	// ErrMissing says that there is no pack in the folder, or a file of it is gone.
	ErrMissing = errors.New("pack: not set up")
	// ErrCorrupt says that a pack's manifest or a file of it is not as it was built.
	ErrCorrupt = errors.New("pack: damaged")
	// ErrFormat says that a pack is of a format that this program does not read.
	ErrFormat = errors.New("pack: format not supported")
)

// advice ends the errors of Load.
const advice = "set the models up again (go run ./cmd/setup; a pack of your own: mien packs add)"

// maxModelBytes bounds one file of a pack and one member of a tarball.
const maxModelBytes = 1 << 30

// Load opens the pack in folder dir and checks all of it: the manifest's format and sense, and that every file it names
// is there with its sha256. It reads every byte once, some 15 MB and 15 ms for the default pack, and keeps none open.
// Errors, each naming the file and what to do: ErrMissing, ErrCorrupt, ErrFormat, or that of the file system.
func Load(dir string) (*Manifest, error) {
	m, err := load(dir)
	if err != nil {
		return nil, fmt.Errorf("models in %s: %w: %s", dir, err, advice)
	}
	return m, nil
}

func load(dir string) (*Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, missing(err)
	}
	defer root.Close()
	b, err := readAll(root, ManifestName, maxManifestBytes)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(b)
	if err != nil {
		return nil, err
	}
	for _, f := range m.all() {
		if err := check(root, f); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Read returns the bytes of the model for a role from the pack in folder dir, checked again, so that what is run is
// what was checked. The caller owns them. Errors as Load's.
func (m *Manifest) Read(dir string, role Role) ([]byte, error) {
	f, ok := m.Files[role]
	if !ok {
		return nil, fmt.Errorf("%w: no file for role %q", ErrMissing, role)
	}
	b, err := readFile(dir, f)
	if err != nil {
		return nil, fmt.Errorf("models in %s: %w: %s", dir, err, advice)
	}
	return b, nil
}

func readFile(dir string, f File) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, missing(err)
	}
	defer root.Close()
	b, err := readAll(root, f.File, maxModelBytes)
	if err != nil {
		return nil, err
	}
	return b, checkSum(f.File, b, f.SHA256)
}

func check(root *os.Root, f File) error {
	r, err := openFile(root, f.File)
	if err != nil {
		return err
	}
	defer r.Close()
	sum, err := sumOfReader(r)
	if err != nil {
		return err
	}
	return compareSum(f.File, sum, f.SHA256)
}

// sumOfReader is the sha256 in hex of what r gives, up to the size that a model may have.
func sumOfReader(r io.Reader) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(r, maxModelBytes)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// openFile opens a regular file for reading. Anything else is ErrCorrupt, a named pipe too, without waiting for a writer.
func openFile(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, missing(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func readAll(root *os.Root, name string, limit int64) ([]byte, error) {
	r, err := openFile(root, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrCorrupt, name, limit)
	}
	return b, nil
}

func checkSum(name string, b []byte, want string) error {
	sum := sha256.Sum256(b)
	return compareSum(name, hex.EncodeToString(sum[:]), want)
}

func compareSum(name, got, want string) error {
	if got != want {
		return fmt.Errorf("%w: %s has sha256 %s, want %s", ErrCorrupt, name, got, want)
	}
	return nil
}

func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return err
}
