package patch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"evolution-openai-patch/patch/catalog"
	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// database is one database over one connection: it is waited for, and then each of its schemas is handled.
type database struct {
	cfg         *config.Config
	log         *slog.Logger
	target      postgres.Target
	server      *server
	position    int            // of its target
	named       bool           // not only matched by a pattern
	requested   config.Schemas // to be handled
	conn        *postgres.Conn
	slot        bool  // a connection may be made, or is open
	disconnects int   // how often the connection was lost after it had been made
	waitsFor    error // what another attempt was needed for last
	listed      bool  // schemas is complete
	schemas     []*progress
	began       time.Time     // when it was begun to be handled
	looked      time.Duration // how long it took from then until every schema had been inspected once; 0 if that is not so
}

// progress is how far one schema is.
type progress struct {
	schema
	latest Result // of the last attempt
	err    error  // that ended it; nil before the first attempt
	done   bool
	absent bool // there is no table in a schema or database that was not named, so nothing is reported
}

// handle waits until PostgreSQL accepts connections, for no longer than limit, handles every schema to its end, and returns
// a Result for each, by name. It leaves the connection open only if that is kept.
func (d *database) handle(ctx context.Context, limit time.Duration) (results []*Result) {
	d.schemas, d.listed, d.disconnects, d.began, d.looked = nil, false, 0, time.Now(), 0
	for _, name := range d.requested.Names {
		d.add(name, d.named)
	}
	err := d.retry(ctx, limit, func(waiting context.Context) error {
		err := d.attempt(ctx, waiting)
		if err != nil && !d.keep() { // others may go on meanwhile
			d.disconnect()
		}
		return err
	})
	if err != nil && len(d.schemas) == 0 {
		d.add("*", d.named)
	}
	for i, p := range d.schemas {
		if !p.done {
			own := err
			var wait *WaitError
			if errors.As(err, &wait) && p.err != nil {
				own = &WaitError{limit, p.err}
			}
			d.conclude(ctx, p, p.latest, own)
		}
		if !p.absent {
			r := p.latest // without what leads to it, because a watch keeps it
			results = append(results, &r)
		}
		d.schemas[i] = nil // there may be many
	}
	if !d.keep() {
		d.disconnect()
	}
	return results
}

// add adds a schema to those that are handled.
func (d *database) add(name string, named bool) {
	r := d.blank(name, plan.Select(d.cfg.Fixes, d.cfg.Goal(), plan.State{Schema: name}))
	p := &progress{latest: r, schema: schema{
		cfg: d.cfg, log: d.log.With("schema", name), database: d.target, place: r.place, backups: &d.server.backups, name: name, named: named,
	}}
	d.schemas = append(d.schemas, p)
}

// blank returns the Result of a schema of which nothing but these fixes is known.
func (d *database) blank(schema string, fixes []plan.Fix) Result {
	return Result{
		Target: d.target.String(), Schema: schema, Assessment: plan.EveryFix(fixes, plan.Failed), requested: fixes,
		place: place{d.position, d.target.Database(), schema},
	}
}

// failure returns the Result of a target whose databases could not be listed over this one.
func (d *database) failure(ctx context.Context, err error) *Result {
	d.schemas, d.named = nil, true
	d.add("*", true)
	p := d.schemas[0]
	d.conclude(ctx, p, p.latest, err)
	return &p.latest
}

// retry attempts something until it is done, fails for good, or the limit has passed. The error is final.
func (d *database) retry(ctx context.Context, limit time.Duration, attempt func(context.Context) error) error {
	retry := postgres.Retry{Limit: d.server.remaining(limit), MaxDelay: d.cfg.Watch.Duration, Notify: d.logWaiting}
	err := retry.Do(ctx, attempt)
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case postgres.Retryable(err):
		return &WaitError{limit, err}
	}
	return err
}

// logWaiting reports that PostgreSQL, or something in it, is not ready yet.
func (d *database) logWaiting(err error, elapsed time.Duration) {
	d.waitsFor = err
	if elapsed < 10*time.Second {
		d.log.Info("waiting for PostgreSQL", "reason", explain(err))
		return
	}
	d.log.Info("still waiting for PostgreSQL", "for", elapsed.Round(time.Second), "reason", explain(err))
}

// attempt connects if there is no connection, and handles the schemas that are not done. It returns the first error after
// which a schema has to be attempted again, or that concerns all of them.
func (d *database) attempt(ctx, waiting context.Context) (again error) {
	if err := d.connect(waiting); err != nil {
		for _, p := range d.schemas {
			p.err = nil // what kept it before does not keep it now
		}
		return err
	}
	if err := d.list(waiting); err != nil {
		if !d.conn.Usable() {
			return d.reconnect(err)
		}
		return err
	}
	unfinished := d.unfinished()
	for i, p := range unfinished {
		r := d.blank(p.name, p.latest.requested)
		state, err := d.inspect(waiting, p.name)
		if i == len(unfinished)-1 {
			d.looked = cmp.Or(d.looked, time.Since(d.began))
		}
		if err == nil {
			r, err = p.attempt(ctx, waiting, d.conn, state, r)
		}
		if r.known() || !p.latest.known() {
			p.latest = r
		}
		err = d.recover(waiting, err)
		if waiting.Err() == nil || !postgres.TimedOut(err) {
			p.err = err // an attempt that was cut short has found nothing out
		}
		switch {
		case !d.conn.Usable():
			return err
		case err != nil && postgres.Retryable(err):
			again = cmp.Or(again, err)
		default:
			d.conclude(ctx, p, r, err)
		}
	}
	return again
}

// unfinished returns the schemas that are not done.
func (d *database) unfinished() []*progress {
	return slices.DeleteFunc(slices.Clone(d.schemas), func(p *progress) bool { return p.done })
}

// inspect returns the State of a schema. After an error the connection is another one, or there is none.
func (d *database) inspect(ctx context.Context, schema string) (catalog.Inspection, error) {
	s, err := scope(d.cfg).Inspect(ctx, d.conn, schema)
	if err == nil {
		return s, nil
	}
	d.conn.RollBack()
	if postgres.TooLong(err) {
		return s, d.recover(ctx, catalog.RowTooLong(schema))
	}
	return s, fmt.Errorf("inspect: %w", err)
}

// list adds the schemas that hold the table, where they are requested and not known yet.
func (d *database) list(ctx context.Context) error {
	if d.listed || !d.requested.All {
		return nil
	}
	names, err := scope(d.cfg).Names(ctx, d.conn, catalog.Schemas)
	if err != nil {
		return err
	}
	if len(names) > catalog.MaxSchemas {
		names = names[:catalog.MaxSchemas]
		d.add("*", true)
		p := d.schemas[len(d.schemas)-1]
		d.conclude(ctx, p, p.latest, plan.Refuse("database %s holds the table in more than %d schemas, and only the oldest are handled; name the others in PATCH_SCHEMAS",
			quote.Identifier(d.target.Database()), catalog.MaxSchemas))
	}
	for _, name := range names {
		if !slices.Contains(d.requested.Names, name) {
			d.add(name, false)
		}
	}
	if len(d.schemas) == 0 && d.named {
		return retryUntilPresent(d.cfg, d.missing("a schema with table "+quote.Identifier(plan.TableName)+" in database ",
			"and a guard needs the name of the schema: set PATCH_SCHEMAS, or ?schema= in the connection string"))
	}
	slices.SortFunc(d.schemas, func(a, b *progress) int { return strings.Compare(a.name, b.name) })
	d.listed = true
	return nil
}

// conclude makes the last Result of a schema the final one. A missing table is an error only where one is required.
func (d *database) conclude(ctx context.Context, p *progress, r Result, err error) {
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	state := catalog.Inspection{}
	if r.known() {
		state = *r.state
	}
	var missing *MissingError
	allowed := errors.As(err, &missing) && !d.cfg.TableRequired()
	if (err == nil || allowed) && d.conn.Usable() {
		p.removeGuard(ctx, d.conn, state)
	}
	r.Unknown = p.unanswered && !r.Changed
	r.Evolution = plan.Release(state.Migrations.Last)
	var unknown *UnknownError
	var stopped Interrupted
	switch {
	case missing != nil && !d.named, errors.Is(err, errAbsent), errors.As(err, &stopped) && d.cfg.Watches() && !d.named && !r.known():
		p.absent = true
	case allowed:
		if r.Status == plan.Failed { // it was not assessed
			r.Assessment = plan.EveryFix(r.requested, plan.Pending)
		}
		r.Status = plan.Pending
	case errors.As(err, &stopped) && d.cfg.Watches() && !r.known(): // it has seen nothing
		r.stopped = true
		if d.waitsFor != nil {
			err = fmt.Errorf("%s (%w)", explain(d.waitsFor), err)
		}
		r.Status, r.Fixes, r.Err = plan.Failed, plan.EveryFix(r.requested, plan.Failed).Fixes, err
	case errors.As(err, &stopped) && d.cfg.Watches(): // what a watch knows is what it has seen
		r.stopped = true
		r.Assessment = plan.Assess(plan.Request{Schema: r.Schema, Fixes: r.requested, KeepNames: bool(d.cfg.KeepNames)}, state.State)
	case err != nil:
		r.Status, r.Fixes, r.Err = plan.Failed, plan.EveryFix(r.requested, plan.Failed).Fixes, err
		if r.Unknown && !errors.As(err, &unknown) {
			r.Err = &UnknownError{err}
		}
	}
	r.Notes = notes(d.cfg, r, state.State, missing)
	r.state, p.log = nil, nil // they are large, and there may be many
	p.latest, p.done = r, true
}
