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

	"github.com/cenkalti/backoff/v4"

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
	fleet       *fleet // that it is one of
	limiter     *limiter
	target      postgres.Target
	named       bool           // the configuration names it; false if a pattern matched
	requested   config.Schemas // to be handled
	conn        *postgres.Conn
	slot        bool  // a connection may be made, or is open
	attempts    int   // to come to an end of all schemas
	disconnects int   // how often the connection was lost after it had been made
	waitsFor    error // what another attempt was needed for last
	listed      bool  // schemas is complete
	schemas     []*schema
	count       *progress
	began       time.Time     // when it was begun to be handled
	entered     bool          // a connection was made since then
	keptOut     error         // why the server lets the role into every database but this one, which a pattern matched; nil if it does
	looked      time.Duration // how long it took from then until every schema had been inspected once; 0 if that is not so
}

// handle waits until PostgreSQL accepts connections, for no longer than limit, handles every schema to its end, and returns
// a Result for each, by name, none where the role is kept out. It leaves the connection open only if that is kept.
func (d *database) handle(ctx context.Context, limit time.Duration, count *progress) (results []*Result) {
	d.schemas, d.listed, d.attempts, d.disconnects, d.began, d.looked, d.count = nil, false, 0, 0, time.Now(), 0, count
	d.entered, d.keptOut = false, nil
	for _, name := range d.requested.Names {
		d.add(name, d.named)
	}
	err := d.finish(ctx, limit)
	if d.keptOut != nil {
		d.schemas = nil
		return nil
	}
	if err != nil && len(d.schemas) == 0 {
		d.add("*", d.named)
	}
	for i, s := range d.schemas {
		if !s.done {
			own := err
			var wait *WaitError
			if errors.As(err, &wait) && s.err != nil {
				own = &WaitError{limit, s.err}
			}
			s.conclude(ctx, own)
		}
		if s.result != nil {
			results = append(results, s.result)
		}
		d.schemas[i] = nil // there may be many
	}
	if !d.keep() {
		d.disconnect()
	}
	return results
}

// finish attempts until every schema is done. Those whose tables are in use come again when the others are done, each for as long as
// PATCH_LOCK_RETRY says, and its last attempt is made at the end of that.
func (d *database) finish(ctx context.Context, limit time.Duration) error {
	line := backoff.NewExponentialBackOff(backoff.WithInitialInterval(d.cfg.LockTimeout.Duration), backoff.WithMultiplier(1.5),
		backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(0))
	for {
		if err := d.retry(ctx, limit, func(waiting context.Context) error { return d.takeTurn(ctx, waiting) }); err != nil {
			return err
		}
		left := d.unfinished()
		if len(left) == 0 {
			return nil
		}
		wait := line.NextBackOff()
		for _, s := range left {
			wait = min(wait, time.Until(s.inUse.Add(d.cfg.LockRetry.Duration)))
		}
		if !pause(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// add adds a schema to those that are handled.
func (d *database) add(name string, named bool) *schema {
	d.count.schemas.Add(1)
	s := &schema{database: d, name: name, log: d.log.With("schema", name)}
	s.seen = sight{named: named, found: !d.named, fixes: plan.Select(d.cfg.Fixes, d.cfg.Goal(), plan.State{Schema: name})}
	d.schemas = append(d.schemas, s)
	return s
}

// failedResult returns the Result of a server whose databases could not be listed over this one.
func (d *database) failedResult(ctx context.Context, err error) *Result {
	d.schemas, d.count, d.named = nil, new(progress), true
	s := d.add("*", true)
	s.conclude(ctx, err)
	return s.result
}

// retry attempts something until it is done, fails for good, or the limit has passed. The error is final.
func (d *database) retry(ctx context.Context, limit time.Duration, attempt func(context.Context) error) error {
	retry := postgres.Retry{Limit: d.limiter.remaining(limit), MaxDelay: d.cfg.Watch.Duration, Notify: d.logWaiting}
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
	what := "waiting for PostgreSQL"
	var notReady *postgres.NotReadyError
	if errors.As(err, &notReady) {
		what = cmp.Or(notReady.Waiting, what)
	}
	if elapsed < 10*time.Second {
		d.log.Info(what, "reason", explain(err))
		return
	}
	d.log.Info("still "+what, "for", elapsed.Round(time.Second), "reason", explain(err))
}

// takeTurn makes one attempt, after which others may go on over another connection unless everything is done.
func (d *database) takeTurn(ctx, waiting context.Context) error {
	err := d.attemptSchemas(ctx, waiting)
	d.attempts++
	if !d.keep() && (err != nil || len(d.unfinished()) > 0) {
		d.disconnect()
	}
	return err
}

// attemptSchemas connects if there is no connection, and handles the schemas that are not done. It returns the first error after
// which a schema has to be attempted again, or that concerns all of them; none for those that are in use.
func (d *database) attemptSchemas(ctx, waiting context.Context) (again error) {
	if err := d.connect(waiting); err != nil {
		for _, s := range d.schemas {
			s.err = nil // what kept it before does not keep it now
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
	for i, s := range unfinished {
		state, err := d.inspect(waiting, s.name)
		if i == len(unfinished)-1 {
			d.looked = cmp.Or(d.looked, time.Since(d.began))
		}
		if err == nil {
			err = s.attempt(ctx, waiting, state)
		}
		err = d.recover(waiting, err)
		if waiting.Err() == nil || !postgres.TimedOut(err) {
			s.err = err // an attempt that was cut short has found nothing out
		}
		switch {
		case !d.conn.Usable():
			return err
		case errors.Is(err, errInUse):
		case err != nil && postgres.Retryable(err):
			again = cmp.Or(again, err)
		default:
			s.conclude(ctx, err)
		}
	}
	return again
}

// unfinished returns the schemas that are not done.
func (d *database) unfinished() []*schema {
	return slices.DeleteFunc(slices.Clone(d.schemas), func(s *schema) bool { return s.done })
}

// inspect returns the State of a schema. After an error the connection is another one, or there is none.
func (d *database) inspect(ctx context.Context, schema string) (catalog.Inspection, error) {
	s, err := scope(d.cfg).Inspect(ctx, d.conn, schema)
	if err == nil {
		return s, nil
	}
	d.conn.RollBack(ctx, d.cfg.ConnectTimeout.Duration)
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
	guarded, err := d.listGuarded(ctx)
	if err != nil {
		return err
	}
	if len(names) > catalog.MaxSchemas {
		names = names[:catalog.MaxSchemas]
		d.add("*", true).conclude(ctx, plan.Refuse("database %s holds the table in more than %d schemas, and only the oldest are handled; name the others in PATCH_SCHEMAS",
			quote.Identifier(d.target.Database()), catalog.MaxSchemas))
	}
	for _, name := range names {
		if !slices.Contains(d.requested.Names, name) {
			d.add(name, false)
		}
	}
	for _, name := range guarded {
		if !slices.ContainsFunc(d.schemas, func(s *schema) bool { return s.name == name }) {
			d.add(name, false)
		}
	}
	if len(d.schemas) == 0 && d.named {
		return retryUntilPresent(d.cfg, d.missing("a schema with table "+quote.Identifier(plan.TableName)+" in database ",
			"it needs the name of the schema, in PATCH_SCHEMAS or in ?schema= of the connection string"))
	}
	slices.SortFunc(d.schemas, func(a, b *schema) int { return strings.Compare(a.name, b.name) })
	d.listed = true
	return nil
}

// listGuarded lists the schemas that have a guard, where guards are to be removed, whether or not they ever got the table.
func (d *database) listGuarded(ctx context.Context) (names []string, err error) {
	if d.cfg.Action != config.ActionRevert {
		return nil, nil
	}
	functions, err := scope(d.cfg).Names(ctx, d.conn, catalog.GuardFunctions)
	for _, line := range functions {
		if name := plan.GuardedSchema(line); name != "" {
			names = append(names, name)
		}
	}
	return names, err
}

// scope returns what of the configuration matters to an inspection.
func scope(c *config.Config) catalog.Scope {
	return catalog.Scope{
		Pad: c.Fixes.MayPad(), Backup: c.BackupDir != "", Revert: c.Action == config.ActionRevert, Guard: c.OnMissingTable == config.MissingGuard, Limits: c.Limits(),
	}
}
