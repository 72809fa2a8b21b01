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

	"github.com/jackc/pgx/v5/pgconn"
)

// worker takes one schema from wherever it stands to where it was asked to be.
type worker struct {
	cfg     Config
	target  Target
	log     *slog.Logger
	session *session // nil: not connected
	losses  int      // connections lost after they had been had
	fixes   []Fix    // those for what was found
	backup  string   // the file written, "" if none
	result  Result
}

// handle waits for the database, for no longer than limit, and does what was asked for. It leaves the connection open.
func (w *worker) handle(ctx context.Context, limit time.Duration) Result {
	w.result = Result{Target: w.target.String(), Schema: w.target.Schema, Fixes: map[string]Status{}}
	w.fixes = w.cfg.fixes(State{Schema: w.target.Schema})
	err := await(ctx, limit, w.cfg.Watch, w.log, func(waiting context.Context) error {
		return w.attempt(ctx, waiting)
	})
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	var missing *MissingError
	allowed := errors.As(err, &missing) && !w.tableRequired()
	if (err == nil || allowed) && w.session != nil && !w.session.broken {
		w.clearGuard(ctx)
	}
	switch {
	case allowed:
		w.result.notice = missing.Error()
		if w.result.Status = Pending; len(w.result.Fixes) == 0 {
			w.settle(Pending)
		}
	case err != nil:
		w.settle(Failed)
		if w.result.Err = err; w.result.Unknown {
			w.result.Err = &unknownError{err}
		}
	}
	return w.result
}

// tableRequired says whether it is an error that there is no table.
func (w *worker) tableRequired() bool {
	switch w.cfg.OnMissingTable {
	case "fail":
		return w.cfg.Action != "status"
	case "wait":
		return w.cfg.changes()
	}
	return false
}

// tell logs what a Result comes down to, with warnings of what the fixes asked for cannot do. An error stands in the
// report; only where neither the report nor the exit status comes of it now, the log has it.
func (w *worker) tell(r Result) {
	s := r.After
	switch {
	case r.Err != nil:
		if w.cfg.Watch > 0 || w.cfg.OnError == "continue" {
			w.log.Error(explain(r.Err))
		}
		return
	case r.notice != "":
		w.log.Warn(r.notice)
		return
	case s.Migrations.Last >= firstChecking && !pads(w.fixes) && s.Function == nil:
		w.log.Warn("dropping the index is not enough here: from Evolution 2.3.0 on the application itself refuses a key that another instance has; set PATCH_FIXES=auto or apikey-index,apikey-check",
			"evolution", release(s.Migrations.Last))
	case w.cfg.Auto && s.Table != nil && s.Migrations.Last == "" && !pads(w.fixes) && w.cfg.Action != "revert":
		w.log.Warn("the release of Evolution cannot be read from its table _prisma_migrations, so only the index is dropped; for Evolution 2.3.0 or later set PATCH_FIXES=apikey-index,apikey-check")
	case s.Keys != nil && s.Keys.Full > 0 && w.cfg.Action != "revert":
		w.log.Warn("keys that fill their column cannot take the space, so Evolution goes on refusing them to a second instance", "keys", s.Keys.Full)
	}
	for _, f := range w.fixes {
		if w.cfg.Action == "status" && r.Fixes[f.Name] == Unpatched {
			w.log.Info("the fix is not in place", "fix", f.Name, "found", r.Found[f.Name])
		}
	}
	for _, f := range Fixes {
		asked := slices.ContainsFunc(w.fixes, func(other Fix) bool { return other.Name == f.Name })
		if f.Hint != "" && r.Changed && r.Status == Patched && !asked && !s.lacks(f) {
			w.log.Info(f.Hint)
		}
	}
	switch g := s.Guard; {
	case g == nil || s.Table == nil:
	case g.foreign(r.Schema) != "":
		w.log.Warn(g.foreign(r.Schema))
	case g.Trigger != nil && !g.Trigger.Mine:
		w.log.Warn("a guard that another role armed is left, and would drop the index once more if it were created again; connect as a superuser to remove it")
	}
}

// settle gives the schema and all the fixes asked for the same status.
func (w *worker) settle(s Status) {
	w.result.Status = s
	for _, f := range w.fixes {
		w.result.Fixes[f.Name] = s
	}
}

// attempt looks, plans and changes. Whatever it returns, calling it again is safe: it starts from what is there. Only
// looking is bounded by the time that there is for waiting.
func (w *worker) attempt(ctx, waiting context.Context) error {
	s, err := w.look(waiting)
	if noDatabase(err) {
		missing := &MissingError{what: "database " + quote(w.target.conn.Database), watched: w.cfg.Watch > 0}
		if w.cfg.OnMissingTable == "guard" && w.cfg.changes() && w.cfg.Watch == 0 {
			missing.instead = "so no guard can be armed in it; Evolution creates it on its first start: run this once more after that, or set PATCH_WATCH or PATCH_ON_MISSING_TABLE=wait in a container that Evolution does not wait for"
		}
		return w.retryUntilPresent(missing)
	}
	if err != nil {
		return w.reconnect(err)
	}
	w.result.Before, w.result.After = s, s
	w.fixes, w.result.Fixes = w.cfg.fixes(s), map[string]Status{}
	if err := w.wait(waiting, s); err != nil {
		return err
	}
	p, err := plan(w.cfg.wish(s), s)
	if err != nil {
		return err
	}
	w.record(s)
	if p.Unguarded != "" && w.cfg.changes() {
		return w.unguarded(p.Unguarded)
	}
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
		return w.reconnect(err)
	}
	if err := w.change(ctx, s, p); err != nil {
		return w.reconnect(err)
	}
	if p.Rearmed != "" {
		w.log.Warn("the guard was armed for other fixes, and does these now: " + p.Rearmed)
	}
	return nil
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
		return w.retryUntilPresent(w.missing(ctx, s))
	case s.Migrations.Unfinished > 0:
		return &notReadyError{why: "a migration was begun and has not finished; if Evolution is not running, see its log"}
	}
	return nil
}

// retryUntilPresent makes of what is missing something that is waited for, where that was asked for.
func (w *worker) retryUntilPresent(missing error) error {
	if missing == nil || w.cfg.OnMissingTable != "wait" || !w.cfg.changes() {
		return missing
	}
	return &notReadyError{missing.Error() + " (where Evolution itself waits for this container, it never comes: there, set PATCH_ON_MISSING_TABLE=guard or continue)", missing}
}

// missing is the error of a schema without the table, and nil for one with it or with a guard that does all that was asked.
func (w *worker) missing(ctx context.Context, s State) error {
	waits := w.cfg.OnMissingTable == "wait" && w.cfg.changes()
	if s.Table != nil || !waits && w.cfg.guarded(s) {
		return nil
	}
	return &MissingError{what: "table " + qualified(w.target.Schema, Table), elsewhere: w.schemasWithTable(ctx), watched: w.cfg.Watch > 0}
}

// schemasWithTable names the schemas that hold the table; it is for a message, so it may fail.
func (w *worker) schemasWithTable(ctx context.Context) (schemas []string) {
	if w.session == nil || w.session.broken {
		return nil
	}
	b := w.begin("READ ONLY")
	found := b.read("SELECT pg_catalog.json_agg(c.relnamespace::pg_catalog.regnamespace ORDER BY 1)::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relname = " +
		literal(Table) + " AND c.relkind = 'r'")
	b.exec("COMMIT")
	if err := w.session.send(ctx, b, w.cfg.ConnectTimeout); err == nil {
		_ = json.Unmarshal(*found, &schemas)
	}
	return schemas
}

// record writes down where the fixes stand, whatever the goal is.
func (w *worker) record(s State) {
	if s.Table == nil {
		w.settle(Pending)
		work := s.Guard.armed()
		for _, f := range w.fixes {
			if work != nil && slices.Contains(work.Fixes, f.Name) {
				w.result.Fixes[f.Name] = Guarded
			}
		}
		if w.cfg.guarded(s) {
			w.result.Status = Guarded
		}
		return
	}
	w.settle(Patched)
	w.result.Found = map[string]string{}
	for _, f := range w.fixes {
		p, err := plan(wish{schema: s.Schema, fixes: []Fix{f}, keepNames: w.cfg.KeepNames}, s)
		w.result.Found[f.Name] = p.Found[f.Name]
		if p.Open[f.Name] || err != nil { // what cannot be applied can be reverted
			w.result.Status, w.result.Fixes[f.Name] = Unpatched, Unpatched
		}
		if s.notYet(f) {
			w.result.Fixes[f.Name] = Pending
			if w.result.Status == Patched {
				w.result.Status = Pending
			}
		}
	}
}

// look reads the State, over a connection that it makes if there is none.
func (w *worker) look(ctx context.Context) (State, error) {
	if w.session == nil {
		ctx, cancel := context.WithTimeout(ctx, w.cfg.ConnectTimeout)
		defer cancel()
		conn, err := connect(ctx, w.target)
		if err != nil {
			return State{}, err
		}
		w.session = &session{conn: conn}
		w.log.Info("connected", "server", conn.ParameterStatus("server_version"), "role", w.target.conn.User)
	}
	s, err := w.lookAtCatalog(ctx)
	if err == nil {
		err = w.lookAtRows(ctx, &s)
	}
	if err != nil {
		w.rollBack()
		return State{}, fmt.Errorf("inspect: %w", err)
	}
	return s, nil
}

// lookAtCatalog reads what the catalog says, and no row of a table of Evolution's.
func (w *worker) lookAtCatalog(ctx context.Context) (State, error) {
	s := State{Schema: w.target.Schema}
	b := w.begin("ISOLATION LEVEL READ COMMITTED READ ONLY")
	questions := b.inspect(s.Schema, false)
	b.exec("COMMIT")
	if err := w.session.send(ctx, b, w.cfg.ConnectTimeout); err != nil {
		return s, err
	}
	return s, s.read(questions)
}

// lookAtRows reads the rows that the catalog says can be read, and what there is of a guard.
func (w *worker) lookAtRows(ctx context.Context, s *State) error {
	if s.Table == nil && s.List == nil && !s.Guarded {
		return nil
	}
	b := w.begin("ISOLATION LEVEL READ COMMITTED READ ONLY")
	var questions []question
	if s.Guarded {
		questions = append(questions, b.ask(guardSQL, s.Schema))
	}
	migrations := b.migrations(*s)
	if s.Table != nil && (w.cfg.Auto || pads(w.cfg.Want)) {
		s.Keys = b.keys(*s)
		if s.Keys != nil && s.Function == nil && s.padTrigger() == nil { // the spaces that are there already are to be kept
			s.Keys.Spaces = map[string]int{}
		}
	}
	b.exec("COMMIT")
	if err := w.session.send(ctx, b, w.cfg.ConnectTimeout); err != nil {
		return err
	}
	s.Migrations = *migrations
	return s.read(questions)
}

// begin starts a transaction in which names mean what they say, what others set for the role or the database does not
// count, and nothing of it outlives a connection that stalls.
func (w *worker) begin(characteristics string) *batch {
	milliseconds := func(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }
	b := &batch{}
	b.exec("BEGIN " + characteristics)
	b.exec("SET LOCAL statement_timeout = 0")
	if w.session.serverVersion() >= 17 {
		b.exec("SET LOCAL transaction_timeout = 0")
	}
	if w.session.encoding() == "SQL_ASCII" { // bytes of any encoding or of none, which cannot be converted
		b.exec("SET LOCAL client_encoding = 'SQL_ASCII'")
	}
	for _, setting := range [][2]string{
		{"idle_in_transaction_session_timeout", milliseconds(w.cfg.ConnectTimeout)},
		{"tcp_user_timeout", milliseconds(w.cfg.ConnectTimeout)}, // while the server has something to send, nothing else ends a stall
		{"lock_timeout", milliseconds(w.cfg.LockTimeout)},
		{"search_path", "pg_catalog, pg_temp"},
		{"row_security", "off"}, // what a policy would hide is an error instead
		{"quote_all_identifiers", "off"},
		{"standard_conforming_strings", "on"},
		{"client_min_messages", "error"},
	} {
		value := literal(setting[1])
		if setting[0] == "search_path" { // a list
			value = setting[1]
		}
		b.exec("SET LOCAL " + setting[0] + " = " + value)
	}
	return b
}

// reconnect gives up a connection that broke. Twice is taken for a restart of the server; the third loss is an error.
func (w *worker) reconnect(err error) error {
	if w.session == nil || !w.session.broken {
		return err
	}
	w.disconnect()
	if w.losses++; w.losses >= 3 && judge(err) == cheap {
		return fmt.Errorf("the connection was lost %d times: %s", w.losses, explain(err))
	}
	return err
}

func (w *worker) disconnect() {
	if w.session != nil {
		w.session.close()
		w.session = nil
	}
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
	watched   bool     // it is looked at again anyway
}

func (e *MissingError) Error() string {
	switch {
	case len(e.elsewhere) > 0:
		return fmt.Sprintf("%s does not exist, but the table exists in schema %s: set PATCH_SCHEMAS, or ?schema= in the connection string",
			e.what, strings.Join(e.elsewhere, ", "))
	case e.watched && e.instead == "":
		return e.what + " does not exist; Evolution creates it on its first start, and the watch goes on until then"
	case e.instead != "":
		return e.what + " does not exist, " + e.instead
	}
	return e.what + " does not exist; Evolution creates it on its first start, so run this once more after that"
}
