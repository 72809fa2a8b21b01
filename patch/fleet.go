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

// handleAll handles every connection string to its end, side by side. An error of one holds none of the others back. Cancelling ctx
// ends it, with context.Cause(ctx) as the error of what was not done.
func handleAll(ctx context.Context, cfg *config.Config, log *slog.Logger, report *reporter) {
	if len(cfg.Completed) > 0 {
		log.Info("PATCH_FIXES is completed, because some fixes are of use only together", "added", cfg.Completed)
	}
	fleets := newFleets(cfg, log, report)
	var group sync.WaitGroup
	for _, f := range fleets {
		group.Go(func() {
			if cfg.Watches() {
				f.watch(ctx)
				return
			}
			f.run(ctx)
		})
	}
	group.Wait()
	for _, f := range fleets {
		for _, d := range f.kept {
			d.disconnect()
		}
	}
}

// fleet is the databases that one connection string leads to.
type fleet struct {
	config.Source
	cfg      *config.Config
	log      *slog.Logger
	report   *reporter
	limiter  *limiter
	position int                  // of the connection string among all
	kept     map[string]*database // whose connections are kept, by name
}

// newFleets returns the fleets of the configuration. Those of one server share its connections.
func newFleets(cfg *config.Config, log *slog.Logger, report *reporter) (fleets []*fleet) {
	limiters := map[string]*limiter{}
	for i, s := range cfg.Sources {
		l := limiters[s.Server()]
		if l == nil {
			l = newLimiter(cfg.Connections)
			limiters[s.Server()] = l
		}
		l.expect(s.Databases)
		fleets = append(fleets, &fleet{Source: s, cfg: cfg, log: log, report: report, limiter: l, position: i, kept: map[string]*database{}})
	}
	return fleets
}

// run handles every database once, and reports the results of each as soon as it has them. Those that are named do not wait until
// others are found.
func (f *fleet) run(ctx context.Context) {
	limit := f.cfg.WaitTimeout.Duration
	var group sync.WaitGroup
	var count progress
	var reached access
	defer f.logProgress(&count)()
	handle := func(names []string) {
		count.databases.Add(int64(len(names)))
		for _, name := range names {
			d := f.database(name)
			d.acquire(ctx)
			group.Go(func() {
				results := d.handle(ctx, limit, &count)
				if d.keptOut == nil {
					f.report.write(results)
				} else {
					d.logKeptOut(d.keptOut)
				}
				if !d.named {
					reached.count(d.keptOut)
				}
				count.databasesDone.Add(1)
			})
		}
	}
	group.Go(func() {
		found, closed, err := f.find(ctx, limit)
		if err != nil {
			f.report.write([]*Result{f.failedResult(ctx, err)})
		}
		for range closed {
			reached.count(errNoConnect)
		}
		handle(found)
	})
	handle(f.Databases.Names)
	group.Wait()
	f.report.keptOut(reached.kept)
	if err := reached.err(); err != nil {
		f.report.write([]*Result{f.failedResult(ctx, err)})
	}
}

// progressInterval is the time between two messages on how far the work on several databases or schemas is.
const progressInterval = 10 * time.Second

// progress counts what is to be done and what is.
type progress struct{ databasesDone, databases, schemasDone, schemas atomic.Int64 }

// logProgress logs how far the work on several databases or schemas is, until stop is called.
func (f *fleet) logProgress(count *progress) (stop func()) {
	done, ticker := make(chan struct{}), time.NewTicker(progressInterval)
	go func() {
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if databases, schemas := count.databases.Load(), count.schemas.Load(); databases > 1 || schemas > 1 {
					f.log.Info("working", "server", f.Server(), "databases_done", count.databasesDone.Load(), "databases", databases,
						"schemas_done", count.schemasDone.Load(), "schemas", schemas)
				}
			}
		}
	}()
	return func() { close(done) }
}

// database returns the database of that name: always the same one if its connection is kept.
func (f *fleet) database(name string) *database {
	if d := f.kept[name]; d != nil {
		return d
	}
	d := f.newDatabase(name)
	if d.keep() {
		f.kept[name] = d
	}
	return d
}

// newDatabase returns the database of that name, over a connection of its own.
func (f *fleet) newDatabase(name string) *database {
	named, schemas := slices.Contains(f.Databases.Names, name), f.SchemasOfOthers
	if named {
		schemas = f.Schemas
		schemas.All = schemas.All || f.SchemasOfOthers.All && f.Databases.Matches(name)
	}
	target := f.Target
	if name != target.Database() {
		target = target.WithDatabase(name)
	}
	return &database{
		cfg: f.cfg, log: f.log.With("target", target.String()), fleet: f, limiter: f.limiter, target: target, named: named, requested: schemas,
	}
}

// find returns the names of the databases of the server that a pattern matches and that are not named: those that are open to the role,
// and those on which it lacks CONNECT.
func (f *fleet) find(ctx context.Context, limit time.Duration) (open, closed []string, err error) {
	if len(f.Databases.Patterns) == 0 {
		return nil, nil, nil
	}
	var found []catalog.Database
	d := f.lister()
	err = d.retry(ctx, limit, func(waiting context.Context) (err error) {
		found, err = f.list(waiting, d)
		return err
	})
	var missing *MissingError
	if errors.As(err, &missing) {
		return nil, nil, fmt.Errorf("%s does not exist, so the databases of the server cannot be listed: name one that exists in the connection string, such as postgres", missing.what)
	}
	for _, one := range found {
		switch {
		case !f.Databases.Matches(one.Name) || slices.Contains(f.Databases.Names, one.Name):
		case one.Open:
			open = append(open, one.Name)
		default:
			closed = append(closed, one.Name)
		}
	}
	return open, closed, err
}

// lister returns the database over which others are listed.
func (f *fleet) lister() *database { return f.newDatabase(f.Target.Database()) }

// list lists the databases of the server by name, and the locks on them, over a database that is not connected to.
func (f *fleet) list(ctx context.Context, d *database) (found []catalog.Database, err error) {
	began := time.Now()
	if err := d.logIn(ctx); err != nil {
		return nil, err
	}
	defer d.disconnect()
	found, err = scope(f.cfg).Databases(ctx, d.conn)
	if err != nil && !d.conn.Usable() {
		err = d.reconnect(err)
	}
	if err != nil {
		return nil, err
	}
	locks := map[string]int{}
	for _, one := range found {
		if one.LockedBy != nil {
			locks[one.Name] = *one.LockedBy
		}
	}
	delete(locks, d.target.Database()) // which has just been connected to
	f.limiter.setLocks(locks, began)
	return found, nil
}

// listLocks lists the locks on databases, unless somebody else has just done so, and leaves them as they are if that is not possible.
func (f *fleet) listLocks(ctx context.Context, database string, stale time.Time) {
	select {
	case f.limiter.listing <- struct{}{}:
		defer func() { <-f.limiter.listing }()
	case <-ctx.Done():
		return
	}
	if !f.limiter.outdated(database, stale) {
		return
	}
	began := time.Now()
	if _, err := f.list(ctx, f.lister()); err != nil {
		f.log.Debug("the locks on databases cannot be listed", "server", f.Server(), "reason", explain(err))
		f.limiter.setLocks(nil, began)
	}
}

// failedResult returns the Result for the databases that could not be found.
func (f *fleet) failedResult(ctx context.Context, err error) *Result {
	return f.lister().failedResult(ctx, err)
}
