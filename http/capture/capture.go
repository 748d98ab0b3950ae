package capture

import (
	"cmp"
	"context"
	"log/slog"
	"sync"

	"mien/engine"
	"mien/extract"
	"mien/http/dialect"
)

// Name is the dialect's.
const Name = "capture"

// Kinds of documents that the package keeps.
const (
	kindSession  = "capture.session"  // by its id
	kindSettings = "capture.settings" // by gallery
)

// Extractor finds faces in frames. It is http.Extractor.
type Extractor interface {
	Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error)
}

// Config is what a Service needs. Only Engine is required; without one the Service has its routes and nothing behind them.
type Config struct {
	Engine *engine.Engine
	Logger *slog.Logger // default: nothing is written
	// Extractor is that of the engine's default space, and Extractors those of others by space, as http.Config has them.
	Extractor  Extractor
	Extractors map[string]Extractor
	// TryBytes is the memory that all tries under way may have together; 0 is DefaultTryBytes.
	TryBytes int64
}

// Service keeps the sessions of all tenants and serves their page. Safe for concurrent use.
type Service struct {
	cfg    Config
	engine *engine.Engine
	log    *slog.Logger
	index  *index
	locks  *locks
	tries  *tries
	seen   *seen

	owners struct {
		sync.RWMutex
		of map[string]Owner
	}
}

// New makes a Service, and reads the sessions that the engine has.
func New(c Config) *Service {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: c, engine: c.Engine, log: c.Logger, index: newIndex(), locks: newLocks(), tries: newTries(cmp.Or(c.TryBytes, DefaultTryBytes)), seen: newSeen(c.Engine)}
	s.owners.of = make(map[string]Owner)
	if c.Engine != nil {
		if err := s.load(context.Background()); err != nil {
			s.log.Error("the capture sessions that are there can't all be read: the links of the others are unknown", "error", err)
		}
	}
	return s
}

// extractor is that of a gallery's space. Errors: errNoExtractor, the engine's.
func (s *Service) extractor(ctx context.Context, tenant, gallery string) (Extractor, error) {
	g, err := s.engine.Gallery(ctx, tenant, gallery)
	if err != nil {
		return nil, err
	}
	x := s.cfg.Extractors[g.Space]
	if g.Space == s.engine.DefaultSpace().ID {
		x = s.cfg.Extractor
	}
	if x == nil {
		return nil, errNoExtractor
	}
	return x, nil
}

var errNoExtractor = &dialect.Refusal{Code: "extractor_missing", Detail: "the server has no models for the gallery's embedding space: sessions need some"}

// Owner is who makes sessions and is told what becomes of them: another API of the server.
type Owner struct {
	// Decide answers the session's question about the photo, instead of the flow's own decision; nil: that. The photo is of the call's
	// gallery. It may be asked again about a session whose answer was lost by a crash.
	Decide func(c *dialect.Call, x Session, best dialect.Photo) (Outcome, error)
	// Ended is called after a session has ended, however it did; after a restart not for those that ended before. nil: nobody is told. It must
	// be quick.
	Ended func(ctx context.Context, tenant string, x Session)
}

// Outcome is what was decided in a session.
type Outcome struct {
	Result bool
	Reason string   // of one that is false
	Person string   // who was found, where the session did not say whom it is about
	Score  *float64 // a similarity as the maker's key may be told it (Call.Score); nil: none
}

// Handle says whose sessions of an owner are. It is to be called before the server serves.
func (s *Service) Handle(owner string, o Owner) {
	s.owners.Lock()
	defer s.owners.Unlock()
	s.owners.of[owner] = o
}

func (s *Service) owner(name string) Owner {
	s.owners.RLock()
	defer s.owners.RUnlock()
	return s.owners.of[name]
}

// ended tells a session's owner of its end.
func (s *Service) ended(ctx context.Context, tenant string, x Session) {
	if o := s.owner(x.Owner); o.Ended != nil {
		o.Ended(ctx, tenant, x)
	}
}
