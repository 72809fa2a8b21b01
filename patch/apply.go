package patch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5/pgconn"
)

// worker takes one schema from wherever it stands to where it was asked to be.
type worker struct {
	cfg    Config
	target Target
	log    *slog.Logger
	conn   *pgconn.PgConn // nil: not connected
	losses int            // connections lost after they had been had
	backup string         // the file written, "" if none
	result Result
}

// handle waits for the database, for no longer than limit, and does what was asked for. It leaves the connection open.
func (w *worker) handle(ctx context.Context, limit time.Duration) Result {
	w.result = Result{Target: w.target.String(), Schema: w.target.Schema, Fixes: map[string]Status{}}
	err := await(ctx, limit, w.log, func(waiting context.Context) error {
		return w.attempt(ctx, waiting)
	})
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	var missing *MissingError
	switch {
	case errors.As(err, &missing) && (w.cfg.Action == "status" || w.cfg.OnMissingTable == "continue" || w.cfg.OnMissingTable == "guard"):
		w.result.notice = missing.Error()
		w.settle(Pending)
	case err != nil:
		w.settle(Failed)
		w.result.Err = err
	}
	return w.result
}

// tell logs what a Result comes down to, with warnings of what the fixes asked for cannot do.
func (w *worker) tell(r Result) {
	s := r.After
	switch {
	case r.Err != nil:
		w.log.Error(explain(r.Err))
		return
	case r.notice != "":
		w.log.Warn(r.notice)
		return
	case s.Migrations.Last >= firstChecking && !w.cfg.pads():
		w.log.Warn("dropping the index is not enough here: from Evolution 2.3.0 on the application itself refuses a key that another instance has; set PATCH_FIXES=apikey-index,apikey-check",
			"evolution", release(s.Migrations.Last))
	case s.Keys != nil && s.Keys.Full > 0 && w.cfg.Action != "revert":
		w.log.Warn("keys that fill their column cannot take the space, so Evolution goes on refusing them to a second instance", "keys", s.Keys.Full)
	}
	if s.Table != nil && s.Guard != nil {
		w.log.Warn("a guard that another role armed is left, and would drop the index once more if it were created again; connect as that role to remove it")
	}
}

// settle gives the schema and all the fixes asked for the same status.
func (w *worker) settle(s Status) {
	w.result.Status = s
	for _, f := range w.cfg.Want {
		w.result.Fixes[f.Name] = s
	}
}

// attempt looks, plans and changes. Whatever it returns, calling it again is safe: it starts from what is there. Only
// looking is bounded by the time that there is for waiting.
func (w *worker) attempt(ctx, waiting context.Context) error {
	s, err := w.look(waiting)
	if noDatabase(err) {
		return w.worthWaiting(&MissingError{what: "database " + quote(w.target.conn.Database)})
	}
	if err != nil {
		return w.mourn(err)
	}
	w.result.Before, w.result.After = s, s
	if err := w.wait(waiting, s); err != nil {
		return err
	}
	p, err := plan(w.cfg.wish(w.target.Schema), s)
	if err != nil {
		return err
	}
	w.record(s)
	if w.cfg.DryRun {
		w.result.SQL = p.SQL
	}
	switch {
	case !w.cfg.changes() || len(p.SQL) == 0:
		return w.missing(waiting, s)
	case s.Standby:
		return &notReadyError{why: "the server is a standby, which takes no changes; waiting for its promotion"}
	case s.Migrating:
		return &notReadyError{why: "a migration of Evolution's is running"}
	case s.Table != nil && !s.Table.Mine:
		return fmt.Errorf("role %s may not change table %s, which belongs to %s: connect as that role or as a superuser",
			quote(s.Role), qualified(s.Schema, Table), quote(s.Table.Owner))
	}
	if err := w.backUp(ctx, s, p); err != nil {
		return w.mourn(err)
	}
	return w.mourn(w.change(ctx, s, p))
}

// wait says what is worth waiting for before anything is planned.
func (w *worker) wait(ctx context.Context, s State) error {
	switch {
	case !w.cfg.changes():
		return nil
	case s.Table == nil && s.Migrating:
		return &notReadyError{"a migration is running that may create the table", w.missing(ctx, s)}
	case w.cfg.OnMissingTable != "wait":
		return nil
	case s.Table == nil:
		return w.worthWaiting(w.missing(ctx, s))
	case s.Migrations.Unfinished > 0:
		return &notReadyError{why: "a migration was begun and has not finished; if Evolution is not running, see its log"}
	}
	return nil
}

// worthWaiting makes of what is missing something that is waited for, where that was asked for.
func (w *worker) worthWaiting(missing error) error {
	if w.cfg.OnMissingTable != "wait" || !w.cfg.changes() {
		return missing
	}
	return &notReadyError{missing.Error() + " (where Evolution itself waits for this container, it never comes: there, set PATCH_ON_MISSING_TABLE=guard or continue)", missing}
}

// missing is the error of a schema without the table, and nil for one with it or with a guard.
func (w *worker) missing(ctx context.Context, s State) error {
	if s.Table != nil || s.Guard != nil && s.Guard.Enabled {
		return nil
	}
	return &MissingError{what: "table " + qualified(w.target.Schema, Table), elsewhere: w.elsewhere(ctx)}
}

// elsewhere names the schemas that hold the table; it is for a message, so it may fail.
func (w *worker) elsewhere(ctx context.Context) (schemas []string) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.ConnectTimeout)
	defer cancel()
	if values, err := exchange(ctx, w.conn, w.limits(), elsewhere); err == nil && values[1] != nil {
		_ = json.Unmarshal(values[1], &schemas)
	}
	return schemas
}

// record writes down where the fixes stand, whatever the goal is.
func (w *worker) record(s State) {
	if s.Table == nil {
		w.settle(Pending)
		if s.Guard != nil && s.Guard.Enabled {
			w.settle(Guarded)
		}
		return
	}
	p, _ := plan(wish{fixes: w.cfg.Want, keepNames: w.cfg.KeepNames}, s) // what is refused was refused before
	w.settle(Patched)
	for _, f := range w.cfg.Want {
		if p.Open[f.Name] {
			w.result.Status, w.result.Fixes[f.Name] = Unpatched, Unpatched
		}
	}
	w.result.Found = p.Found
}

// look reads the State, over a connection that it makes if there is none.
func (w *worker) look(ctx context.Context) (State, error) {
	if w.conn == nil {
		ctx, cancel := context.WithTimeout(ctx, w.cfg.ConnectTimeout)
		defer cancel()
		conn, err := connect(ctx, w.target)
		if err != nil {
			return State{}, err
		}
		w.conn = conn
		w.log.Info("connected", "server", conn.ParameterStatus("server_version"), "role", w.target.conn.User)
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.ConnectTimeout)
	defer cancel()
	// One pipeline is one transaction, so what is set for it ends with it.
	values, err := exchange(ctx, w.conn, append([]statement{w.limits()}, w.inspect(true)...)...)
	if err != nil {
		return State{}, fmt.Errorf("inspect: %w", err)
	}
	return readState(w.target.Schema, values[1:])
}

// inspect are the statements that read what this worker's plan is made from.
func (w *worker) inspect(migrations bool) []statement {
	return inspect(w.target.Schema, migrations, w.cfg.pads())
}

// limits bounds what a transaction of ours can do to others, and makes names mean what they say.
func (w *worker) limits() statement {
	milliseconds := func(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }
	return statement{
		sql: `SELECT pg_catalog.set_config('lock_timeout', $1, true), pg_catalog.set_config('idle_in_transaction_session_timeout', $2, true),
			pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)`,
		args: []string{milliseconds(w.cfg.LockTimeout), milliseconds(w.cfg.ConnectTimeout)},
	}
}

// change executes the plan under the table's lock, which it tries for again and again rather than queueing for long:
// behind a waiting ACCESS EXCLUSIVE all of Evolution's queries wait too.
func (w *worker) change(ctx context.Context, s State, p Plan) error {
	var retry backoff.BackOff = &backoff.StopBackOff{}
	if w.cfg.LockRetry > 0 {
		retry = backoff.NewExponentialBackOff(backoff.WithInitialInterval(w.cfg.LockTimeout), backoff.WithMultiplier(1.5),
			backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(w.cfg.LockRetry))
	}
	err := backoff.RetryNotify(func() error {
		err := w.transaction(ctx, s, p)
		if !busy(err) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(retry, ctx), func(err error, _ time.Duration) {
		w.log.Debug("the table is in use, trying again", "reason", explain(err))
	})
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "23505" {
		return w.duplicates(ctx, s)
	}
	if errors.As(err, &pgErr) && pgErr.Code == "42501" && s.Table == nil {
		return &MissingError{what: "table " + qualified(w.target.Schema, Table), elsewhere: w.elsewhere(ctx), instead: fmt.Sprintf(
			"the guard cannot be armed, as role %s may not create event triggers; connect as a superuser, or set PATCH_WATCH or PATCH_ON_MISSING_TABLE=wait in a container that Evolution does not wait for",
			quote(s.Role))}
	}
	if busy(err) {
		return fmt.Errorf("lock: %s stayed in use for PATCH_LOCK_RETRY=%s: %s; look for long transactions in pg_stat_activity",
			qualified(s.Schema, Table), w.cfg.LockRetry, explain(err))
	}
	return err
}

// noDatabase says that the server knows no database of that name, for which PgBouncer has no code of its own.
func noDatabase(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == "3D000" ||
		pgErr.Code == "08P01" && strings.HasPrefix(pgErr.Message, "database ") && strings.HasSuffix(pgErr.Message, " does not exist"))
}

// busy says that somebody else held a lock: lock_not_available or deadlock_detected.
func busy(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == "55P03" || pgErr.Code == "40P01")
}

// guardLock is the key of the advisory lock under which guards are armed and removed.
const guardLock = 20240718121437

// lock is what keeps others out: Evolution and ourselves, or where there is no table yet only ourselves.
func lock(s State) statement {
	if s.Table == nil {
		return statement{sql: fmt.Sprintf("SELECT pg_catalog.pg_advisory_xact_lock(%d)", guardLock)}
	}
	return statement{sql: "LOCK TABLE " + qualified(s.Schema, Table) + " IN ACCESS EXCLUSIVE MODE"}
}

// rowTime is what a changed row may take at most before the server counts as silent: some ten times what it does take.
const rowTime = time.Millisecond

// transaction executes the plan and commits if it was still right under the lock and has led to where nothing is left
// to plan. The first round trip does it all and reads the State before and after; the second ends it.
func (w *worker) transaction(ctx context.Context, s State, p Plan) (err error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.ConnectTimeout+2*w.cfg.LockTimeout+time.Duration(p.Rows)*rowTime)
	defer cancel()
	look := w.inspect(w.cfg.KeepNames)
	statements := append([]statement{{sql: "BEGIN ISOLATION LEVEL READ COMMITTED"}, w.limits(), lock(s)}, look...)
	underLock := len(statements)
	for _, sql := range p.SQL {
		statements = append(statements, statement{sql: sql})
	}
	statements = append(statements, look...)
	defer func() {
		if err != nil {
			w.rollBack()
		}
	}()
	values, err := exchange(ctx, w.conn, statements...)
	if len(values) >= underLock { // what went wrong after this may come of a plan that was stale
		locked, err := readState(s.Schema, values[underLock-len(look):underLock])
		if err != nil {
			return err
		}
		again, err := plan(w.cfg.wish(w.target.Schema), locked)
		if err != nil {
			return err
		}
		if locked.Migrating || (locked.Table == nil) != (s.Table == nil) || !slices.Equal(again.SQL, p.SQL) {
			return &notReadyError{why: "the schema was changed by somebody else at the same moment"}
		}
	}
	if err != nil {
		return fmt.Errorf("change: %w", err)
	}
	after, err := readState(s.Schema, values[len(values)-len(look):])
	if err != nil {
		return err
	}
	rest, err := plan(w.cfg.wish(w.target.Schema), after)
	if err != nil || len(rest.SQL) > 0 {
		return fmt.Errorf("verify: the change did not have its effect and was rolled back; left to do: %s (%w)",
			strings.Join(rest.SQL, "; "), err)
	}
	if _, err := exchange(ctx, w.conn, statement{sql: "COMMIT"}); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for _, sql := range p.SQL {
		w.log.Info("done", "sql", oneLine(sql))
	}
	after.Migrations = s.Migrations
	w.result.Changed, w.result.After = true, after
	w.record(after)
	return nil
}

// rollBack ends the transaction; a connection that cannot even do that is dropped, and the server ends it.
func (w *worker) rollBack() {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := exchange(ctx, w.conn, statement{sql: "ROLLBACK"}); err != nil {
		_ = w.conn.Close(ctx)
	}
}

// mourn gives up a connection that broke. Once or twice is a restart; after that it is an error.
func (w *worker) mourn(err error) error {
	if w.conn == nil || !w.conn.IsClosed() {
		return err
	}
	w.disconnect()
	if w.losses++; w.losses >= 3 && judge(err) == cheap {
		return fmt.Errorf("the connection was lost %d times: %s", w.losses, explain(err))
	}
	return err
}

// disconnect says goodbye without waiting for the server's, which takes longer than all the rest. Where the driver has
// given the connection up, its request to cancel what is still running gets a moment to arrive.
func (w *worker) disconnect() {
	if w.conn == nil {
		return
	}
	if w.conn.IsClosed() {
		select {
		case <-w.conn.CleanupDone():
		case <-time.After(200 * time.Millisecond):
		}
	} else {
		_, _ = w.conn.Conn().Write([]byte{'X', 0, 0, 0, 4}) // Terminate
		_ = w.conn.Conn().Close()
	}
	w.conn = nil
}

// MissingError says that there is no database or no table yet.
type MissingError struct {
	what      string
	elsewhere []string // schemas that hold the table
	instead   string   // what to do about it, "" for running the program once more
}

func (e *MissingError) Error() string {
	switch {
	case len(e.elsewhere) > 0:
		return fmt.Sprintf("%s does not exist, but the table exists in schema %s: set PATCH_SCHEMAS, or ?schema= in the connection string",
			e.what, strings.Join(e.elsewhere, ", "))
	case e.instead != "":
		return e.what + " does not exist, and " + e.instead
	}
	return e.what + " does not exist; Evolution creates it on its first start, so run this once more after that"
}
