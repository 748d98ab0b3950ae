package transfer

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

var sealAgain = flag.Bool("update-sealed", false, "write the golden sealed file of this version")

var sealKey = bytes.Repeat([]byte{7}, KeyBytes)

func sealed(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := Seal(&b, sealKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// openAll opens a sealed file and reads its people.
func openAll(data, key []byte) (people any, err error) {
	r, err := OpenSealed(bytes.NewReader(data), int64(len(data)), key)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	_, all, err := readAll(plain, Config{})
	return all, err
}

// TestSealed: what was sealed opens with its key, from any place too, and never with a bit turned, cut or under another key.
func TestSealed(t *testing.T) {
	people := goldenPeople2()
	plain := written(t, Binary, goldenHeader, people)
	data := sealed(t, plain)
	if bytes.Contains(data, []byte("ada")) || bytes.Contains(data, plain[len(plain)-40:len(plain)-8]) {
		t.Error("the sealed file shows what is in it")
	}
	if is, err := IsSealed(bytes.NewReader(data)); !is || err != nil {
		t.Error(is, err)
	}
	for _, other := range [][]byte{plain, nil, []byte("mien")} {
		if is, err := IsSealed(bytes.NewReader(other)); is || err != nil {
			t.Error(is, err)
		}
	}
	got, err := openAll(data, sealKey)
	if err != nil || !reflect.DeepEqual(got, people) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := openAll(data, bytes.Repeat([]byte{8}, KeyBytes)); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
	for i := range data {
		bad := slices.Clone(data)
		bad[i] ^= 1 << (i % 8)
		if _, err := openAll(bad, sealKey); err == nil {
			t.Fatalf("with a bit of byte %d turned it opens", i)
		}
	}
	for n := range data {
		if _, err := openAll(data[:n], sealKey); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	r, err := OpenSealed(bytes.NewReader(data), int64(len(data)), sealKey)
	if err != nil || r.Size() != int64(len(plain)) {
		t.Fatal(err)
	}
	at := make([]byte, 9)
	if _, err := r.ReadAt(at, 30); err != nil || !bytes.Equal(at, plain[30:39]) {
		t.Errorf("%q, %v", at, err)
	}
}

// TestGoldenSealed opens the sealed file of every version.
func TestGoldenSealed(t *testing.T) {
	path := filepath.Join("testdata", fmt.Sprintf("version-%d.sealed", Version))
	if *sealAgain {
		if err := os.WriteFile(path, sealed(t, written(t, Binary, goldenHeader, goldenPeople2())), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join("testdata", "version-2.sealed"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := openAll(data, sealKey); err != nil || !reflect.DeepEqual(got, goldenPeople2()) {
		t.Errorf("%+v, %v", got, err)
	}
}
