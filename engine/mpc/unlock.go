package mpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Pseudonym is what parties know a person of a tenant by, from the key of the gateway alone (GatewayConfig.Key). user may be empty, for the tenant's. Errors:
// ErrConfig, for a key of another length.
func Pseudonym(key []byte, tenant, user string) (Subject, error) {
	if len(key) != DirectoryKeyBytes {
		return Subject{}, fmt.Errorf("%w: a directory key of %d bytes, want %d", ErrConfig, len(key), DirectoryKeyBytes)
	}
	d := &directory{names: derive(key, "mien/mpc/names/v1")}
	if user == "" {
		return Subject{Tenant: d.tenant(tenant)}, nil
	}
	return d.subject(tenant, user), nil
}

// ParseID reads the 32 hex digits of an ID. Errors: ErrMessage.
func ParseID(text string) (id ID, err error) {
	return id, id.UnmarshalText([]byte(text))
}

// UnlockRecord forgets what a party that does not run has counted of attempts at a record, and returns how many there were in the longest window: somebody has made
// sure, out of band, whose attempts they were. Of the configuration Index, Cluster, Dir, FS, Root and Logger are looked at. Errors: ErrInUse, where the party
// runs; ErrUnknown, where it has no such record; OpenParty's, ErrStorage.
func UnlockRecord(c PartyConfig, of Subject) (attempts uint64, err error) {
	c = c.withDefaults()
	if _, err := c.FS.Stat(c.FS.PathJoin(c.Dir, "store")); err != nil {
		return 0, fmt.Errorf("%w: no party has a store in %s", ErrConfig, c.Dir)
	}
	s, err := openPartyStore(c.FS, c.Dir, c.Cluster, c.Index, c.Root, c.Logger)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	h, found, err := s.head(of)
	if err == nil && (!found || h.state != stateActive) {
		err = ErrUnknown
	}
	if err == nil {
		attempts, err = s.meters.counted(of)
	}
	if err != nil {
		return 0, err
	}
	return attempts, s.meters.unlock(of)
}

// inUse is ErrInUse of what Pebble says of a folder that a process holds.
func inUse(err error) error {
	if errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	return err
}

// counted is how many attempts a row has in its longest window, with those that were set aside and may have been made.
func (m *meters) counted(of Subject) (uint64, error) {
	v, err := m.store.get(meterRow{of, meterRecord}.key())
	if err != nil || len(v) < 4 {
		return 0, err
	}
	b, err := parseBudget(v[4:])
	if err != nil {
		return 0, err
	}
	b.advance(0)
	return b.used() + uint64(binary.LittleEndian.Uint32(v)), nil
}

// unlock forgets a record's attempts: an operator has made sure, out of band, whose they are. Errors: ErrStorage.
func (m *meters) unlock(of Subject) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	row := meterRow{of, meterRecord}
	delete(m.mu.of, row)
	return m.store.update(func(b *pebble.Batch) error {
		remove(b, row.key())
		return nil
	})
}
