package patch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

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
	case errors.As(err, &missing) && !w.demands():
		w.result.notice = missing.Error()
		w.settle(Pending)
	case err != nil:
		w.settle(Failed)
		w.result.Err = err
	}
	return w.result
}

// demands says whether it is an error that there is no table.
func (w *worker) demands() bool {
	switch w.cfg.OnMissingTable {
	case "fail":
		return w.cfg.Action != "status"
	case "wait":
		return w.cfg.changes()
	}
	return false
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
		missing := &MissingError{what: "database " + quote(w.target.conn.Database)}
		if w.cfg.OnMissingTable == "guard" && w.cfg.changes() {
			missing.instead = "so no guard can be armed in it; Evolution creates it on its first start: run this once more after that, or set PATCH_WATCH or PATCH_ON_MISSING_TABLE=wait in a container that Evolution does not wait for"
		}
		return w.worthWaiting(missing)
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
	case s.Table != nil && !s.Table.Mine:
		return fmt.Errorf("role %s may not change table %s, which belongs to %s: connect as that role or as a superuser",
			quote(s.Role), qualified(s.Schema, Table), quote(s.Table.Owner))
	}
	if err := w.backUp(ctx, s); err != nil {
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
	case s.Migrating: // what it leaves is what counts, be it more to do or a table that is refused half-way
		return &notReadyError{why: "a migration of Evolution's is running"}
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
func (w *worker) inspect(background bool) []statement {
	return inspect(w.target.Schema, background, w.cfg.pads())
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

// noDatabase says that the server knows no database of that name, for which PgBouncer has no code of its own.
func noDatabase(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == "3D000" ||
		pgErr.Code == "08P01" && strings.HasPrefix(pgErr.Message, "database ") && strings.HasSuffix(pgErr.Message, " does not exist"))
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
		return e.what + " does not exist, " + e.instead
	}
	return e.what + " does not exist; Evolution creates it on its first start, so run this once more after that"
}
