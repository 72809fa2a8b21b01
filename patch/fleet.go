package patch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"evolution-openai-patch/patch/catalog"
	"evolution-openai-patch/patch/config"
)

// handleFleet handles every target to its end, side by side. An error of one holds none of the others back. Cancelling ctx
// ends it, with context.Cause(ctx) as the error of what was not done.
func handleFleet(ctx context.Context, cfg *config.Config, log *slog.Logger, report *reporter) {
	if len(cfg.Completed) > 0 {
		log.Info("PATCH_FIXES is completed, because some fixes are of use only together", "added", cfg.Completed)
	}
	targets := newTargets(cfg, log, report)
	var group sync.WaitGroup
	for _, t := range targets {
		group.Go(func() {
			if cfg.Watches() {
				t.watch(ctx)
				return
			}
			t.run(ctx)
		})
	}
	group.Wait()
	for _, t := range targets {
		for _, d := range t.kept {
			d.disconnect()
		}
	}
}

// target is what one connection string leads to while it is handled.
type target struct {
	config.Target
	cfg      *config.Config
	log      *slog.Logger
	report   *reporter
	server   *server
	position int                  // among the targets
	kept     map[string]*database // whose connections are kept, by name
}

// newTargets returns the targets of the configuration. Those of one server share its connections.
func newTargets(cfg *config.Config, log *slog.Logger, report *reporter) (targets []*target) {
	servers := map[string]*server{}
	for i, t := range cfg.Targets {
		s := servers[t.Server()]
		if s == nil {
			s = newServer(cfg.Connections)
			servers[t.Server()] = s
		}
		s.expect(t.Databases)
		targets = append(targets, &target{Target: t, cfg: cfg, log: log, report: report, server: s, position: i, kept: map[string]*database{}})
	}
	return targets
}

// run handles every database of the target once, and reports the results of each as soon as it has them. Those that are
// named do not wait until others are found.
func (t *target) run(ctx context.Context) {
	limit := t.cfg.WaitTimeout.Duration
	var group sync.WaitGroup
	var count progressCount
	defer t.logProgress(&count)()
	handle := func(names []string) {
		count.databases.Add(int64(len(names)))
		for _, name := range names {
			d := t.database(name)
			d.acquire(ctx)
			group.Go(func() {
				t.report.write(d.handle(ctx, limit))
				count.done.Add(1)
			})
		}
	}
	group.Go(func() {
		found, err := t.find(ctx, limit)
		if err != nil {
			t.report.write([]*Result{t.failure(ctx, err)})
		}
		handle(found)
	})
	handle(t.Databases.Names)
	group.Wait()
}

// progressInterval is the time between two messages on how far the work on several databases is.
const progressInterval = 10 * time.Second

// progressCount counts databases.
type progressCount struct{ done, databases atomic.Int64 }

// logProgress logs how far the work on several databases is, until stop is called.
func (t *target) logProgress(count *progressCount) (stop func()) {
	done, ticker := make(chan struct{}), time.NewTicker(progressInterval)
	go func() {
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if n := count.databases.Load(); n > 1 {
					t.log.Info("working", "server", t.Server(), "databases_done", count.done.Load(), "databases", n)
				}
			}
		}
	}()
	return func() { close(done) }
}

// database returns the database of that name: always the same one if its connection is kept.
func (t *target) database(name string) *database {
	if d := t.kept[name]; d != nil {
		return d
	}
	named, schemas := slices.Contains(t.Databases.Names, name), t.SchemasOfOthers
	if named {
		schemas = t.Schemas
	}
	c := t.Target.Target
	if name != c.Database() {
		c = c.WithDatabase(name)
	}
	d := &database{
		cfg: t.cfg, log: t.log.With("target", c.String()), target: c, server: t.server, position: t.position,
		named: named, requested: schemas,
	}
	if d.keep() {
		t.kept[name] = d
	}
	return d
}

// find returns the names of the databases of the server that a pattern matches and that are not named.
func (t *target) find(ctx context.Context, limit time.Duration) (names []string, err error) {
	if len(t.Databases.Patterns) == 0 {
		return nil, nil
	}
	d := t.database(t.Target.Database()) // patterns leave no connection to be kept
	defer d.disconnect()
	var found []string
	err = d.retry(ctx, limit, func(waiting context.Context) (err error) {
		if err = d.connect(waiting); err != nil {
			return err
		}
		if found, err = scope(t.cfg).Names(waiting, d.conn, catalog.Databases); !d.conn.Usable() {
			return d.reconnect(err)
		}
		return err
	})
	slices.Sort(found)
	var missing *MissingError
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("%s does not exist, so the databases of the server cannot be listed: name one that exists in the connection string, such as postgres", missing.what)
	}
	for _, name := range found {
		if t.Databases.Matches(name) && !slices.Contains(t.Databases.Names, name) {
			names = append(names, name)
		}
	}
	return names, err
}

// failure returns the Result for the databases that could not be found.
func (t *target) failure(ctx context.Context, err error) *Result {
	return t.database(t.Target.Database()).failure(ctx, err)
}
