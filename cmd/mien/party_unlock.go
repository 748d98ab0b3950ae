package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"mien/engine"
	"mien/engine/mpc"
)

type partyNameCmd struct {
	Dir     string `arg:"" help:"The gateway's folder; of serve --parties dev, DATA/parties/gateway." type:"path"`
	Tenant  string `help:"Tenant whose gallery it is." default:"default"`
	Gallery string `help:"Gallery." short:"g" required:""`
	Person  string `help:"Person; without one, the gallery's pseudonym alone is printed."`
}

// partyName is who a person is to the parties.
type partyName struct {
	Tenant mpc.ID  `json:"tenant"`
	Person *mpc.ID `json:"person,omitempty"`
}

// Run needs no store, so the server may run.
func (c *partyNameCmd) Run(out *output) error {
	key, err := readKey(filepath.Join(c.Dir, directoryFile))
	if err != nil {
		return err
	}
	defer clear(key)
	of, err := mpc.Pseudonym(key, c.Tenant+"/"+c.Gallery, c.Person)
	if err != nil {
		return err
	}
	if c.Person == "" {
		return out.print(partyName{Tenant: of.Tenant}, fmt.Sprintf("--tenant %s", of.Tenant))
	}
	return out.print(partyName{of.Tenant, &of.RID}, fmt.Sprintf("--tenant %s --person %s", of.Tenant, of.RID))
}

type partyUnlockCmd struct {
	Dir     string `arg:"" help:"The party's folder." type:"path"`
	Cluster string `help:"Name of the installation." env:"MIEN_PARTY_CLUSTER" default:"mien"`
	Kek     string `name:"kek" help:"File with the key that wraps the keys of the store (default: DIR/kek.key)." env:"MIEN_PARTY_KEK_FILE" type:"path" placeholder:"FILE"`
	Tenant  string `help:"Pseudonym of the tenant's gallery, as mien party name prints it." required:"" placeholder:"HEX"`
	Person  string `help:"Pseudonym of the person." required:"" placeholder:"HEX"`
}

// partyUnlocked is what was forgotten.
type partyUnlocked struct {
	Party    int    `json:"party"`
	Attempts uint64 `json:"attempts"`
}

// Run opens the store of a party that does not run.
func (c *partyUnlockCmd) Run(out *output) error {
	var of mpc.Subject
	var err error
	for _, id := range []struct {
		to   *mpc.ID
		text string
	}{{&of.Tenant, c.Tenant}, {&of.RID, c.Person}} {
		if *id.to, err = mpc.ParseID(id.text); err != nil {
			return fmt.Errorf("%q is no pseudonym: mien party name prints those of a person", id.text)
		}
	}
	identity, err := readIdentity(c.Dir)
	if err != nil {
		return err
	}
	index, ok := identity.Role.Party()
	if !ok {
		return fmt.Errorf("the certificate in %s is that of %s, not of a party", c.Dir, identity.Role)
	}
	key, err := readKey(or(c.Kek, c.Dir, kekFile))
	if err != nil {
		return err
	}
	defer clear(key)
	root, err := engine.NewRootKey(key)
	if err != nil {
		return err
	}
	n, err := mpc.UnlockRecord(mpc.PartyConfig{Index: index, Cluster: c.Cluster, Dir: c.Dir, Root: root}, of)
	switch {
	case errors.Is(err, mpc.ErrInUse):
		return fmt.Errorf("party folder %s: the party runs: stop it first, unlock, and start it again", c.Dir)
	case errors.Is(err, mpc.ErrUnknown):
		return fmt.Errorf("party folder %s: nobody is enrolled under these pseudonyms: mien party name prints them", c.Dir)
	case err != nil:
		return fmt.Errorf("party folder %s: %w", c.Dir, err)
	}
	return out.print(partyUnlocked{index, n}, fmt.Sprintf("party %d has forgotten %d attempts: the other two count their own", index, n))
}
