package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"mien/index"
	"mien/index/hnsw"
	"mien/index/scan"
)

// searcher is what a gallery needs of an index. All of it is safe for concurrent use; Close waits for the calls in
// progress. Replace changes rows at one moment, and a search sees the index as it is at one moment after it began.
type searcher interface {
	Replace(old []uint32, label uint32, vectors [][]float32) (rows []uint32, err error)
	Append(labels []uint32, vectors []float32, rows []uint32) error
	Dot(row uint32, q []float32) (float32, error)
	SearchInto(ctx context.Context, dst []index.Hit, q []float32, o index.Options) ([]index.Hit, error)
	SearchEach(ctx context.Context, queries []index.Query, pause func()) error
	Check(ctx context.Context, q []float32, o index.Options) (found, exact []index.Hit, err error)
	Each(f func(row, label uint32)) error
	Rows() int
	MemoryBytes() int64
	Save(sequence uint64, owner []byte) error
	DropSaved() error
	Residue() (scan.Residue, error)
	Close() error
}

// makeIndex makes an empty index of a kind. One that this program does not know, of a later one's gallery, is a cache
// as every index is: the scan takes its place.
func makeIndex(kind string, c scan.Config) (searcher, error) {
	if kind == indexHNSW || kind == indexAuto {
		return hnsw.New(hnsw.Config{Config: c, Auto: kind == indexAuto})
	}
	return scan.New(c)
}

// openIndex opens an index of a kind as it was saved; see scan.Open. What another kind saved it opens too: a graph that
// is not asked for is not read, and one that is missing is linked anew.
func openIndex(kind string, c scan.Config) (x searcher, sequence uint64, owner []byte, err error) {
	if kind == indexHNSW || kind == indexAuto {
		return opened(hnsw.Open(hnsw.Config{Config: c, Auto: kind == indexAuto}))
	}
	return opened(scan.Open(c))
}

// opened keeps a nil index from becoming a searcher that is not nil.
func opened[X searcher](x X, sequence uint64, owner []byte, err error) (searcher, uint64, []byte, error) {
	if err != nil {
		return nil, 0, nil, err
	}
	return x, sequence, owner, nil
}

// indexKeyInfo begins the HKDF info of an index's key; the gallery's number follows.
const indexKeyInfo = "mien index v1"

// newIndex makes an empty index for a gallery whose space is configured, in a folder that holds nothing, sealed with
// its own key (I1): what was there is removed, so that an index that still has it open keeps its own files.
func (e *Engine) newIndex(g *gallery) (searcher, error) {
	c := e.indexConfig(g)
	defer clear(c.Key)
	if c.Dir != "" {
		if err := os.RemoveAll(c.Dir); err != nil {
			return nil, fmt.Errorf("engine: search index: %w", err)
		}
	}
	x, err := e.makeIndex(g.record.Index, c)
	if err != nil {
		return nil, fmt.Errorf("engine: search index: %w", err)
	}
	return x, nil
}

// indexConfig is what a gallery's index is made or opened with; the caller clears its key.
func (e *Engine) indexConfig(g *gallery) scan.Config {
	c := scan.Config{Dim: g.record.Dim, Dir: e.indexFolder(g)}
	if c.Dir != "" {
		c.Key = g.seal.derive(string(binary.BigEndian.AppendUint64([]byte(indexKeyInfo), g.record.Number)))
	}
	return c
}

// indexFolder is where a gallery's index may keep files; "" is nowhere.
func (e *Engine) indexFolder(g *gallery) string {
	if e.indexDir == "" {
		return ""
	}
	return e.indexFolderOf(g.record.Number)
}

// indexFolderOf is that of a gallery's number. REQUIRES: indexes have files.
func (e *Engine) indexFolderOf(number uint64) string {
	return filepath.Join(e.indexDir, strconv.FormatUint(number, 10))
}

// retire closes an index that no new call finds, and removes folder if it is not "" (I2). In the background: Close waits
// for searches in progress, for which the commit loop must not wait. REQUIRES: mu is held and not closed, or the
// caller is itself a goroutine that shut waits for.
func (e *Engine) retire(x searcher, folder string) {
	e.retiring.Go(func() {
		err := x.Close()
		if folder != "" {
			err = errors.Join(err, os.RemoveAll(folder))
		}
		if err != nil {
			e.log.Warn("a search index that is no longer needed is left behind", "error", err)
		}
	})
}

// allGalleries are those that searches find, and those that they are being moved to.
func (e *Engine) allGalleries() []*gallery {
	e.mu.RLock()
	defer e.mu.RUnlock()
	all := slices.Collect(maps.Values(e.mu.galleries))
	for _, g := range all[:len(all):len(all)] {
		if next := g.successor.Load(); next != nil {
			all = append(all, next)
		}
	}
	return all
}

// removeStrayIndexes removes the folders of galleries that are no more (I2): the process may have ended before it
// could.
func (e *Engine) removeStrayIndexes() error {
	if e.indexDir == "" {
		return nil
	}
	entries, err := os.ReadDir(e.indexDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("engine: search indexes: %w", err)
	}
	known := make(map[string]bool)
	for _, g := range e.allGalleries() {
		known[strconv.FormatUint(g.record.Number, 10)] = true
	}
	for _, entry := range entries {
		if _, err := strconv.ParseUint(entry.Name(), 10, 64); err != nil || known[entry.Name()] {
			continue // not ours, or in use
		}
		if err := os.RemoveAll(filepath.Join(e.indexDir, entry.Name())); err != nil {
			return fmt.Errorf("engine: search index of a deleted gallery: %w", err)
		}
	}
	return nil
}

// shut closes store and indexes, and saves these if Open had done its work and all writes are durable. REQUIRES: no call
// runs or begins.
func (e *Engine) shut() error {
	e.stop()
	e.checking.Wait()
	e.repairs.Wait() // they read the store
	e.closeAudit()
	err := e.store.close()
	whole := e.started && err == nil
	e.mu.Lock() // a halted store may yet change memory
	e.mu.closed = true
	e.mu.Unlock()
	galleries := e.allGalleries()
	e.retiring.Wait()
	for _, g := range galleries {
		if x := g.currentIndex(); x != nil {
			if whole {
				e.saveIndex(g)
			}
			err = errors.Join(err, x.Close())
		}
	}
	return err
}
