package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	nethttp "net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"mien/bench"
	"mien/bench/load"
	"mien/engine"
)

// benchRequest is a POST without the server's address.
type benchRequest struct {
	path, contentType string
	body              []byte
}

// operations are what --op names. Each makes request n of a workload. Photos are asked about made-up people, which takes
// as long as about the right ones.
var operations = map[string]func(w *workload, n int) benchRequest{
	"verify": func(w *workload, n int) benchRequest {
		return jsonRequest(personPath(w.gallery, personID(n))+"/verify", map[string]any{"template": w.template(n, 1)})
	},
	"identify": func(w *workload, n int) benchRequest {
		return jsonRequest(galleryPath(w.gallery)+"/identify", map[string]any{"template": w.template(n, 1)})
	},
	"verify-binary": func(w *workload, n int) benchRequest {
		return benchRequest{personPath(w.gallery, personID(n)) + "/verify", frameType, w.frame(n, 1)}
	},
	"identify-binary": func(w *workload, n int) benchRequest {
		return benchRequest{galleryPath(w.gallery) + "/identify", frameType, w.frame(n, 1)}
	},
	"compare": func(w *workload, n int) benchRequest {
		side := func(photo uint32) any { return map[string]any{"template": w.template(n, photo)} }
		return jsonRequest("/v1/compare", map[string]any{"source": side(1), "target": side(2)})
	},
	"verify-photo": func(w *workload, n int) benchRequest {
		return benchRequest{personPath(w.gallery, personID(n%w.people)) + "/verify?select=largest", "application/octet-stream", w.photos[n]}
	},
	"identify-photo": func(w *workload, n int) benchRequest {
		return benchRequest{galleryPath(w.gallery) + "/identify?select=largest", "application/octet-stream", w.photos[n]}
	},
	"compare-photo": func(w *workload, n int) benchRequest {
		side := func(n int) any { return map[string][]byte{"image": w.photos[n%len(w.photos)]} }
		return jsonRequest("/v1/compare", map[string]any{"select": "largest", "space": w.space, "source": side(n), "target": side(n + 1)})
	},
}

func jsonRequest(path string, body map[string]any) benchRequest {
	data, err := json.Marshal(body)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return benchRequest{path, "application/json", data}
}

func operationNames() []string { return slices.Sorted(maps.Keys(operations)) }

func byPhoto(operation string) bool { return strings.HasSuffix(operation, "-photo") }

func (c *benchHTTPCmd) readsPhotos() bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(c.Op)), byPhoto)
}

// distinct is how many requests of an operation by template are made, to be sent again and again: 3 KiB each.
const distinct = 1024

// enrolAtOnce is people sent at once.
const enrolAtOnce = 16

// workload is a gallery of made-up people on a server, and photos.
type workload struct {
	api     *client
	tls     *tls.Config
	gallery string
	space   string
	people  int
	faces   *bench.Gallery
	photos  [][]byte
}

// workload makes the gallery and enrols everybody. The caller must close it.
func (c *benchHTTPCmd) workload(ctx context.Context, s *benchServer, photos [][]byte) (*workload, error) {
	variant := bench.Isotropic
	if s.dim == bench.SpaceDim {
		variant = bench.Space
	}
	w := &workload{gallery: "bench-http-" + rand.Text(), people: c.People, photos: photos}
	var err error
	if w.faces, err = bench.NewGallery(variant, s.dim, c.Seed); err != nil {
		return nil, err
	}
	if w.api, err = s.api.client(); err != nil {
		return nil, err
	}
	transport := w.api.http.Transport.(*nethttp.Transport).Clone()
	transport.MaxIdleConnsPerHost = enrolAtOnce
	w.api.http.Transport, w.tls = transport, transport.TLSClientConfig
	var made engine.Gallery
	if err := w.api.do(ctx, "PUT", galleryPath(w.gallery), gallerySpec{Space: s.space}, &made); err != nil {
		return nil, err
	}
	w.space = made.Space
	if err := w.enrol(ctx); err != nil {
		return nil, errors.Join(err, w.close(ctx))
	}
	return w, nil
}

func (w *workload) enrol(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(enrolAtOnce)
	for n := range w.people {
		g.Go(func() error {
			body := map[string]any{"templates": []any{w.template(n, 0)}}
			return w.api.do(ctx, "PUT", personPath(w.gallery, personID(n)), body, nil)
		})
	}
	return g.Wait()
}

// close deletes the gallery, also when ctx is over.
func (w *workload) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := w.api.do(ctx, "DELETE", galleryPath(w.gallery), nil, nil)
	w.api.http.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("delete gallery %s: %w", w.gallery, err)
	}
	return nil
}

func personID(n int) string { return strconv.Itoa(n) }

// template is a photo of person n, as the API takes it.
func (w *workload) template(n int, photo uint32) any {
	return map[string]any{"space": w.space, "f32": w.appendNumbers(nil, n, photo)}
}

// frameType is the API's media type of templates in binary.
const frameType = "application/vnd.mien.templates"

// frame is the same in binary.
func (w *workload) frame(n int, photo uint32) []byte {
	b := []byte("MTF1")
	for _, x := range []int{1, w.faces.Dim(), len(w.space)} {
		b = binary.LittleEndian.AppendUint16(b, uint16(x))
	}
	return w.appendNumbers(append(b, w.space...), n, photo)
}

func (w *workload) appendNumbers(dst []byte, n int, photo uint32) []byte {
	for _, x := range w.faces.Append(nil, uint64(n), photo, 1) {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}

// sender is operations of which each sends its requests one after the other, whomever to.
type sender struct {
	name   string
	weight float64
	wires  [][]byte
}

// senders writes the requests of the operations as they go over the wire to client's server.
func (w *workload) senders(weights map[string]float64, client *load.Client) []sender {
	var all []sender
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		s := sender{name: name, weight: weights[name]}
		n := min(w.people, distinct)
		if byPhoto(name) {
			n = len(w.photos)
		}
		for i := range n {
			r := operations[name](w, i)
			s.wires = append(s.wires, client.Request(r.path, w.api.token, r.contentType, r.body))
		}
		all = append(all, s)
	}
	return all
}

// to are operations of the load generator that send by a client.
func to(client *load.Client, senders []sender) (all []load.Operation) {
	for _, s := range senders {
		all = append(all, load.Operation{Name: s.name, Weight: s.weight, Do: func(ctx context.Context, n int) load.Answer {
			return client.Do(ctx, s.wires[n%len(s.wires)])
		}})
	}
	return all
}

// readPhotos reads the photos of files and of folders, however deep.
func readPhotos(paths []string) (photos [][]byte, err error) {
	for _, path := range paths {
		before := len(photos)
		err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !isPhoto(file) {
				return err
			}
			data, err := os.ReadFile(file)
			photos = append(photos, data)
			return err
		})
		if err == nil && len(photos) == before {
			err = fmt.Errorf("--photos: there are none in %s (%s)", path, strings.Join(photoTypes, " "))
		}
		if err != nil {
			return nil, err
		}
	}
	return photos, nil
}
