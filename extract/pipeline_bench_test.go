package extract

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/extract/pack"
)

var (
	eachFlag    = flag.Duration("each", 2*time.Second, "time for each figure of BenchmarkPipeline")
	tensorsFlag = flag.String("tensors", "", "folder where BenchmarkPipeline leaves the models' inputs and outputs for one photo")
)

// BenchmarkPipeline compares the whole pipeline with its models alone, and shows how long requests take. It is run once
// (-benchtime 1x) and prints tables. What is compared takes turns of 50 ms on the same cores, so that other work on the
// machine is shared; the ratio of processor times hardly feels it.
func BenchmarkPipeline(b *testing.B) {
	c := testConfig()
	c.Queue = 256
	c.Batching = nil // as it is measured
	x, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	photos := []speedPhoto{newSpeedPhoto(b, 640, 480, 160, 80, 1), newSpeedPhoto(b, 4000, 3000, 1713, 711, 3)}
	fmt.Printf("\n%d cores, ONNX Runtime on the CPU, photos: JPEG of quality 90, 4:2:0, one face with noise\n\n", runtime.GOMAXPROCS(0))
	fmt.Print("| photo | wanted | models alone, faces/s | whole, faces/s | whole / models | by processor time | decoding, ms of a core | models, ms | the rest, ms |\n|---|---|---|---|---|---|---|---|---|\n")
	wants := []struct {
		name string
		want Want
	}{{"template", WantTemplate}, {"template, quality, liveness", WantTemplate | WantQuality | WantLiveness}}
	for _, p := range photos {
		for _, w := range wants {
			compareWithModels(b, x, p, w.name, w.want)
		}
	}
	fmt.Print("\n| photo | wanted | requests at once | faces/s | p50, ms | p95, ms | p99, ms |\n|---|---|---|---|---|---|---|\n")
	for _, p := range photos {
		for _, w := range wants {
			for _, n := range []int{1, 8, 64} {
				latency(b, x, p, w.name, w.want, n)
			}
		}
	}
	if *tensorsFlag != "" {
		leaveTensors(b, x, photos[0])
	}
}

type speedPhoto struct {
	name string
	data []byte
}

// newSpeedPhoto puts a face on a photo of w×h pixels, with a sensor's noise: the coded data of a smooth picture is next to
// nothing.
func newSpeedPhoto(b *testing.B, w, h, x, y int, scale float64) speedPhoto {
	smooth, err := decode(b.Context(), pasted(b, mustDecode(b, "faces/a_1.jpg"), w, h, x, y, scale, 1), w*h)
	if err != nil {
		b.Fatal(err)
	}
	data := encodeJPEG(b, noisy(smooth, nil, 4), 90)
	return speedPhoto{fmt.Sprintf("%d×%d, %.2g MB", w, h, float64(len(data))/1e6), data}
}

// load is what one worker does again and again.
type load struct {
	do        func() error
	n         atomic.Int64
	wall, cpu time.Duration
}

// turn does it on every core for a while.
func (l *load) turn(b *testing.B, lasts time.Duration) {
	start, cpu := time.Now(), processorTime()
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for time.Since(start) < lasts {
				if err := l.do(); err != nil {
					b.Error(err)
					return
				}
				l.n.Add(1)
			}
		})
	}
	all.Wait()
	l.wall += time.Since(start)
	l.cpu += processorTime() - cpu
}

func (l *load) perSecond() float64 { return float64(l.n.Load()) / l.wall.Seconds() }
func (l *load) cpuMillis() float64 { return float64(l.cpu.Microseconds()) / 1000 / float64(l.n.Load()) }

func compareWithModels(b *testing.B, x *Extractor, p speedPhoto, name string, want Want) {
	models := &load{do: bareModels(b, x, want)}
	whole := &load{do: func() error {
		_, err := x.Extract(b.Context(), p.data, Options{Select: SelectOne, Want: want})
		return err
	}}
	decoding := &load{do: func() error {
		q, err := open(b.Context(), p.data, limits{1 << 25, 1 << 25}, x.stages.steps.detector.scale)
		if err == nil {
			q.close()
		}
		return err
	}}
	for start := time.Now(); time.Since(start) < 3**eachFlag; {
		for _, l := range []*load{models, whole, decoding} {
			l.turn(b, 50*time.Millisecond)
		}
	}
	rest := whole.cpuMillis() - decoding.cpuMillis() - models.cpuMillis()
	fmt.Printf("| %s | %s | %.1f | %.1f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", p.name, name, models.perSecond(), whole.perSecond(),
		whole.perSecond()/models.perSecond(), models.cpuMillis()/whole.cpuMillis(), decoding.cpuMillis(), models.cpuMillis(), rest)
}

// bareModels runs the models that one face takes, as often as it takes them, on memory that is there.
func bareModels(b *testing.B, x *Extractor, want Want) func() error {
	times := map[string]int{pack.Detector: 1, pack.Landmarks: 1, pack.Embedder: 1}
	if want&WantQuality != 0 {
		times[pack.Pose], times[pack.Eyes] = 1, 2
	}
	if want&WantLiveness != 0 {
		times[pack.Liveness] = len(livenessScales)
	}
	return func() error {
		for _, one := range x.stages.all() {
			s := *one
			if s == nil {
				continue
			}
			for range times[s.role] {
				r := <-s.idle
				err := s.runner.run(r, 1)
				s.idle <- r
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// latency has n clients ask for one photo after another.
func latency(b *testing.B, x *Extractor, p speedPhoto, name string, want Want, n int) {
	var mu sync.Mutex
	var took []time.Duration
	var clients sync.WaitGroup
	start := time.Now()
	for range n {
		clients.Go(func() {
			for time.Since(start) < *eachFlag {
				began := time.Now()
				if _, err := x.Extract(b.Context(), p.data, Options{Select: SelectOne, Want: want}); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	fmt.Printf("| %s | %s | %d | %.1f | %.1f | %.1f | %.1f |\n", p.name, name, n, float64(len(took))/time.Since(start).Seconds(), at(.5), at(.95), at(.99))
}

// leaveTensors writes what the models of a template saw and said, for the same models elsewhere.
func leaveTensors(b *testing.B, x *Extractor, p speedPhoto) {
	if _, err := x.Extract(b.Context(), p.data, Options{Select: SelectOne}); err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(*tensorsFlag, 0o755); err != nil {
		b.Fatal(err)
	}
	for _, s := range []*stage{x.stages.detector, x.stages.landmarker, x.stages.embedder} {
		r := s.runs[0]
		if err := s.runner.run(r, 1); err != nil { // of whichever photo this memory saw last: all are alike
			b.Fatal(err)
		}
		for suffix, data := range map[string][]float32{"in": r.in[0], "out": r.outs[0][0]} {
			var raw bytes.Buffer
			if err := binary.Write(&raw, binary.LittleEndian, data); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(*tensorsFlag, s.role+"."+suffix), raw.Bytes(), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
}
