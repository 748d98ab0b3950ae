package main

import (
	"crypto/hpke"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"mien/engine/mpc"
)

type partySealCmd struct {
	Op       string            `help:"What the shares are for: verify, enrol or identify." enum:"verify,enrol,identify" required:""`
	Pin      map[string]string `help:"The parties' share keys, as mien party init printed them at each: party0=HEX;party1=HEX;party2=HEX. Without it the server is believed." placeholder:"ROLE=HEX;..."`
	With     string            `arg:"" help:"What the server says to seal with: the answer of GET …/decentralised/people/ID/sealing, or of …/decentralised/sealing for a search." type:"existingfile"`
	Template string            `arg:"" help:"File with the template, {\"space\": …, \"f32\": …}, or the answer of mien extract --json --template." type:"existingfile"`
}

// sealedShares is the body of the request.
type sealedShares struct {
	Envelopes mpc.Envelopes `json:"envelopes"`
}

// Run prints the body of the request that the server passes on without seeing what is in it.
func (c *partySealCmd) Run(out *output) error {
	with, err := readSealing(c.With)
	if err != nil {
		return err
	}
	t, err := readTemplate(c.Template)
	if err != nil {
		return err
	}
	if t.Space != with.Space {
		return fmt.Errorf("the template in %s is of embedding space %s, and the gallery of %s", c.Template, t.Space, with.Space)
	}
	if err := c.checkKeys(with); err != nil {
		return err
	}
	vector := t.vector()
	defer clear(vector)
	sealed, err := with.Seal(mpc.SealOp(c.Op), vector)
	if err != nil {
		return err
	}
	text, err := json.Marshal(sealedShares{sealed})
	if err != nil {
		return err
	}
	return out.print(sealedShares{sealed}, string(text))
}

// checkKeys has the server's keys be those that are pinned, or says that it is believed.
func (c *partySealCmd) checkKeys(with *sealingFile) error {
	if len(c.Pin) == 0 {
		fmt.Fprintln(os.Stderr, "the keys are taken as the server gave them, which could be its own: --pin has those that mien party init printed at the parties")
		return nil
	}
	pins, err := parsePins(c.Pin)
	if err != nil {
		return err
	}
	var of [mpc.Parties]mpc.Pin
	for i := range of {
		pin, given := pins[mpc.PartyRole(i)]
		if !given {
			return fmt.Errorf("--pin has no %s: there is one for each of the %d parties", mpc.PartyRole(i), mpc.Parties)
		}
		of[i] = pin
	}
	return with.Pinned(of)
}

// sealingFile is the answer of …/sealing.
type sealingFile struct {
	Space string
	mpc.Sealing
}

func readSealing(path string) (*sealingFile, error) {
	v := new(sealingFile)
	if err := readJSON(path, v); err != nil {
		return nil, err
	}
	if v.Space == "" || v.Cluster == "" {
		return nil, fmt.Errorf("%s is not what GET …/sealing answers", path)
	}
	return v, nil
}

// templateFile is a template as the API has it.
type templateFile struct {
	Space string
	F32   []byte
}

// readTemplate reads a template, or an answer of extract with one face.
func readTemplate(path string) (t templateFile, err error) {
	var v struct {
		templateFile
		Faces []struct{ Template templateFile }
	}
	if err := readJSON(path, &v); err != nil {
		return t, err
	}
	t = v.templateFile
	if len(v.Faces) == 1 {
		t = v.Faces[0].Template
	}
	if t.Space == "" || len(t.F32) == 0 || len(t.F32)%4 != 0 {
		return t, fmt.Errorf(`%s has no template: {"space": …, "f32": …}, or one face of mien extract --json --template`, path)
	}
	return t, nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s can't be read: %w", path, reason(err))
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// vector is the template, of norm 1 as a server would make it.
func (t templateFile) vector() []float32 {
	v, square := make([]float32, len(t.F32)/4), 0.0
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.F32[4*i:]))
		square += float64(v[i]) * float64(v[i])
	}
	for i, x := range v {
		v[i] = float32(float64(x) / math.Sqrt(square))
	}
	return v
}

// readShareKey reads a party's key for envelopes; nil: there is none, as in folders that were made before there were envelopes.
func readShareKey(dir string) (hpke.PrivateKey, error) {
	path := filepath.Join(dir, shareKeyFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	key, err := readKey(path)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return mpc.ParseEnvelopeKey(key)
}

// sharePin is what clients know a party's share key by; "" where there is none.
func sharePin(dir string) (string, error) {
	key, err := readShareKey(dir)
	if err != nil || key == nil {
		return "", err
	}
	return pinText(mpc.PinOfShareKey(key.PublicKey().Bytes())), nil
}
