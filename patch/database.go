package patch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"evolution-openai-patch/patch/postgres"
)

// database is one database over one connection: it is waited for, and then each of its schemas is handled.
type database struct {
	cfg         *Config
	log         *slog.Logger
	target      postgres.Target
	conn        *postgres.Conn // nil: not connected
	disconnects int            // how often the connection was lost after it had been made
	schemas     []*progress
}

// progress is how far one schema is.
type progress struct {
	schema
	latest Result // of the last attempt
	err    error  // that ended it; nil before the first attempt
	done   bool
}

// newDatabase returns the database of a target.
func newDatabase(cfg *Config, target Target, log *slog.Logger) *database {
	d := &database{cfg: cfg, target: target.Target, log: log.With("target", target.String())}
	for _, name := range target.Schemas {
		d.schemas = append(d.schemas, &progress{schema: schema{cfg: cfg, log: d.log.With("schema", name), database: d.target, name: name}})
	}
	return d
}

// handle waits until PostgreSQL accepts connections, for no longer than limit, and handles every schema to its end. The
// connection stays open.
func (d *database) handle(ctx context.Context, limit time.Duration) (results []Result) {
	for _, p := range d.schemas {
		p.latest, p.err, p.done, p.unanswered = p.blank(d.cfg.fixesFor(State{Schema: p.name}), Failed), nil, false, false
	}
	retry := postgres.Retry{Limit: limit, MaxDelay: d.cfg.Watch.Duration, Notify: d.logWaiting}
	err := retry.Do(ctx, func(waiting context.Context) error { return d.attempt(ctx, waiting) })
	for _, p := range d.schemas {
		if !p.done {
			d.conclude(ctx, p, p.latest, final(ctx, err, p.err))
		}
		results = append(results, p.latest)
	}
	return results
}

// logWaiting reports that PostgreSQL, or something in it, is not ready yet.
func (d *database) logWaiting(err error, elapsed time.Duration) {
	if elapsed < 10*time.Second {
		d.log.Info("waiting for PostgreSQL", "reason", explain(err))
		return
	}
	d.log.Info("still waiting for PostgreSQL", "for", elapsed.Round(time.Second), "reason", explain(err))
}

// final returns the error of a schema that was not done when the waiting ended with err: the signal, or that the time was
// up, with what kept this very schema.
func final(ctx context.Context, err, own error) error {
	var timeout *postgres.TimeoutError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &timeout) && own != nil:
		return &WaitError{timeout.Limit, own}
	case errors.As(err, &timeout):
		return &WaitError{timeout.Limit, timeout.Cause}
	}
	return err
}

// attempt connects if there is no connection, and handles the schemas that are not done. It returns the first error after
// which a schema has to be attempted again, or that concerns all of them.
func (d *database) attempt(ctx, waiting context.Context) (again error) {
	if err := d.connect(waiting); err != nil {
		return err
	}
	for _, p := range d.schemas {
		if p.done {
			continue
		}
		r, err := p.attempt(ctx, waiting, d.conn)
		if r.known() || !p.latest.known() {
			p.latest = r
		}
		switch {
		case !d.conn.Usable():
			return d.reconnect(err)
		case err != nil && postgres.Retryable(err):
			p.err = err
			if again == nil {
				again = err
			}
		default:
			d.conclude(ctx, p, r, err)
		}
	}
	return again
}

// conclude makes the last Result of a schema the final one. A missing table is an error only where one is required.
func (d *database) conclude(ctx context.Context, p *progress, r Result, err error) {
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var missing *MissingError
	allowed := errors.As(err, &missing) && !d.cfg.tableRequired()
	if (err == nil || allowed) && d.conn.Usable() {
		p.removeGuard(ctx, d.conn, r.State)
	}
	r.Unknown = p.unanswered && !r.Changed
	switch {
	case allowed:
		if r.Status == Failed { // it was not assessed
			r.assessment = everyFix(r.requested, Pending)
		}
		r.Status, r.Notice = Pending, missing.Error()
	case err != nil:
		r.Status, r.Fixes, r.Err = Failed, everyFix(r.requested, Failed).Fixes, err
		var unknown *UnknownError
		if r.Unknown && !errors.As(err, &unknown) {
			r.Err = &UnknownError{err}
		}
	}
	p.latest, p.done = r, true
}

// connect makes the connection if there is none.
func (d *database) connect(ctx context.Context) error {
	if d.conn != nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, d.cfg.ConnectTimeout.Duration)
	defer cancel()
	conn, err := d.target.Connect(limited)
	if postgres.NoDatabase(err) {
		missing := &MissingError{what: "database " + postgres.Identifier(d.target.Database()), watched: d.cfg.Watch.Duration > 0}
		if d.cfg.OnMissingTable == MissingGuard && d.cfg.mayChange() && !missing.watched {
			missing.remedy = "so no guard can be installed in it; Evolution creates it on its first start: run this once more after that, or set PATCH_WATCH or PATCH_ON_MISSING_TABLE=wait in a container that Evolution does not wait for"
		}
		return d.cfg.retryUntilPresent(missing)
	}
	if err != nil {
		return err
	}
	d.conn = conn
	d.log.Info("connected", "server", conn.ServerVersion(), "role", d.target.User())
	return nil
}

// maxDisconnects is how often a connection that was made may be lost in one run. Fewer losses are treated as a restart of
// the server.
const maxDisconnects = 3

// reconnect drops a broken connection, so that the next attempt makes a new one. The last loss allowed is an error.
func (d *database) reconnect(err error) error {
	d.disconnect()
	if d.disconnects++; d.disconnects >= maxDisconnects && postgres.ConnectionLost(err) {
		return fmt.Errorf("the connection was lost %d times: %s", d.disconnects, explain(err))
	}
	return err
}

// disconnect closes the connection, if there is one.
func (d *database) disconnect() {
	d.conn.Close()
	d.conn = nil
}
