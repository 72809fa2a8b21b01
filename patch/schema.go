package patch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"evolution-openai-patch/patch/catalog"
	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// schema is one schema of a database on its way from wherever it stands to where it is requested to be.
type schema struct {
	*database
	name      string
	log       *slog.Logger
	seen      sight     // in the last attempt that has seen anything
	err       error     // of the last attempt that was not cut short; nil before the first
	inUse     time.Time // since when others keep its table in use; zero if they do not
	distrusts bool      // a change found the schema different from what it was
	done      bool
	result    *Result // nil until it is done, and where there is nothing to be reported
}

// errAbsent is what becomes of a schema that was only matched by a pattern and has no table.
var errAbsent = errors.New("there is no table in a schema that was not named")

// errInUse reports that the table was not locked in time, and that another attempt is to follow.
var errInUse = errors.New("the table is in use")

// place returns where the Result of the schema stands.
func (s *schema) place() place { return place{s.fleet.position, s.target.Database(), s.name} }

// attempt plans and applies, from the State that was inspected. Attempting it again is safe whatever it returns. Queries for
// messages are bounded by the context of the waiting.
func (s *schema) attempt(ctx, waiting context.Context, state catalog.Inspection) error {
	request := s.cfg.Request(state.State)
	s.seen.fixes, s.seen.state, s.seen.assessment, s.seen.sql = request.Fixes, &state, plan.Assessment{}, nil
	if state.Table == nil && !s.seen.named && (state.Guard == nil || request.Goal != plan.Revert) {
		return errAbsent
	}
	if err := s.ready(state.State); err != nil {
		return err
	}
	p, err := plan.Make(request, state.State)
	if err != nil {
		return err
	}
	s.seen.assessment, s.seen.left = plan.Assess(request, state.State), p.Left
	if p.Pads && s.cfg.Action != config.ActionStatus {
		if err := s.checkCode(waiting, &state, p); err != nil {
			return err
		}
	}
	if s.cfg.DryRun {
		s.seen.sql = p.SQL
	}
	switch {
	case p.Unguarded != "" && s.cfg.MayChange():
		return missingTable(s.cfg, state.State, p.Unguarded)
	case state.Table == nil && len(p.SQL) > 0 && request.Goal == plan.Apply && bool(s.cfg.DryRun):
		missing := missingTable(s.cfg, state.State, "")
		missing.guard = true
		return missing
	case !s.cfg.MayChange() || len(p.SQL) == 0 || p.Optional && s.tried():
		return s.missing(state.State)
	}
	after, err := s.apply(ctx, request, state, p)
	switch {
	case err != nil && p.Optional && s.conn.Usable():
		s.log.Debug("no name was kept", "reason", explain(err))
		return nil
	case err != nil:
		s.distrusts = s.distrusts || errors.Is(err, catalog.ErrSchemaChanged)
		return err
	}
	s.seen.state, s.seen.assessment, s.seen.changed = &after, plan.Assess(request, after.State), true
	if rest, err := plan.Make(request, after.State); err == nil && rest.Optional && !p.Optional {
		return s.attempt(ctx, waiting, after)
	}
	if request.Goal == plan.Revert {
		s.seen.watches, _ = scope(s.cfg).Names(waiting, s.conn, catalog.SessionsOf(config.WatchName))
	}
	return nil
}

// tried reports whether this process has tried before to leave the names that were not kept.
func (s *schema) tried() bool {
	_, tried := s.limiter.kept.LoadOrStore(s.place(), true)
	return tried
}

// checkCode refuses a schema in which code of others would run when keys change, or are counted. Where no stored key changes in a table
// of the role's own, that is left to the change, which then fails; the next attempt finds out why.
func (s *schema) checkCode(ctx context.Context, state *catalog.Inspection, p plan.Plan) error {
	if p.Rows == 0 && state.Table.Owner == state.Role && !s.distrusts && !bool(s.cfg.DryRun) {
		state.PresumeNoCode()
		return nil
	}
	if err := scope(s.cfg).InspectCode(ctx, s.conn, state); err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	return plan.CheckCode(state.State)
}

// apply backs the schema up where that is requested, and executes the plan.
func (s *schema) apply(ctx context.Context, request plan.Request, state catalog.Inspection, p plan.Plan) (after catalog.Inspection, err error) {
	database := place{source: s.fleet.position, Database: s.target.Database()}
	why, unguarded := s.limiter.unguarded.Load(database)
	switch {
	case state.Table == nil && unguarded && request.Goal == plan.Apply:
		return state, missingTable(s.cfg, state.State, why.(string))
	case state.Standby:
		return state, &postgres.NotReadyError{Reason: "the server is a standby, which takes no changes; waiting for its promotion"}
	case state.Table != nil && !state.Table.Mine:
		return state, fmt.Errorf("role %s may not change table %s, which belongs to %s: connect as that role or as a superuser%s",
			quote.Identifier(state.Role), state.QualifiedTable(), quote.Identifier(state.Table.Owner), state.OrInherit())
	}
	c := &change{cfg: s.cfg, conn: s.conn, log: s.log, request: request, before: state, plan: p}
	if _, done := s.limiter.backups.Load(s.place()); s.cfg.BackupDir != "" && !done && state.Table != nil {
		if err = c.backUp(ctx, s.target); err == nil {
			s.limiter.backups.Store(s.place(), true) // a further file would hold what somebody made of the first change
		}
	}
	if err == nil {
		after, err = c.execute(ctx)
	}
	var unknown *UnknownError
	s.seen.unanswered = errors.As(err, &unknown) || err != nil && s.seen.unanswered
	switch {
	case err == nil || p.Optional:
		return after, err
	case s.mayComeAgain(err):
		s.log.Debug("the table is in use, trying again", "reason", explain(err))
		return after, fmt.Errorf("%w: %w", errInUse, err)
	}
	explained := c.explainFailure(ctx, err)
	var missing *MissingError
	if errors.As(explained, &missing) && postgres.SQLState(err) == postgres.InsufficientPrivilege {
		s.limiter.unguarded.Store(database, missing.noGuard)
	}
	return after, explained
}

// mayComeAgain reports whether an error says that the table is in use, and there is time left for another attempt.
func (s *schema) mayComeAgain(err error) bool {
	if !postgres.LockUnavailable(err) {
		s.inUse = time.Time{}
		return false
	}
	if s.inUse.IsZero() {
		s.inUse = time.Now()
	}
	return time.Since(s.inUse) < s.cfg.LockRetry.Duration
}

// conclude makes what was seen last, and the error that ended it, the Result.
func (s *schema) conclude(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		if err = context.Cause(ctx); s.seen.state == nil && s.waitsFor != nil && s.cfg.Watches() {
			err = fmt.Errorf("%s; %w", explain(s.waitsFor), err) // a watch that has seen nothing says why
		}
	}
	var missing *MissingError
	if s.seen.state != nil && s.conn.Usable() && (err == nil || errors.As(err, &missing) && !s.cfg.TableRequired()) {
		s.removeGuard(ctx, *s.seen.state)
	}
	s.result, s.done = newResult(s.cfg, s.target.String(), s.place(), s.seen, err), true
	s.seen, s.log = sight{}, nil // they are large, and there may be many
	s.count.schemasDone.Add(1)
}

// migration is what the log says while Prisma's lock is held, or something in its list has not finished.
const migration = "waiting for a migration of Evolution's"

// ready returns an error as long as something has to be waited for before anything is planned.
func (s *schema) ready(state plan.State) error {
	switch {
	case !s.cfg.MayChange():
		return nil
	case state.Table == nil && state.Migrating:
		return &postgres.NotReadyError{Waiting: migration, Reason: "a migration is running that may create the table", Cause: s.missing(state)}
	case state.Migrating: // what it leaves is what counts, be it more to do or a table that would be refused half-way
		return &postgres.NotReadyError{Waiting: migration, Reason: "a migration of Evolution's is running"}
	case s.cfg.OnMissingTable != config.MissingWait:
		return nil
	case state.Table == nil:
		return retryUntilPresent(s.cfg, s.missing(state))
	case state.Migrations.Unfinished > 0:
		return &postgres.NotReadyError{Waiting: migration, Reason: "a migration was begun and has not finished: " + state.Migrations.UnfinishedNames() + "; if Evolution is not running, see its log"}
	}
	return nil
}

// retryUntilPresent makes an error about something that is missing retryable where it is to be waited for.
func retryUntilPresent(c *config.Config, missing error) error {
	if missing == nil || !c.WaitsForTable() {
		return missing
	}
	return &postgres.NotReadyError{
		Waiting: "waiting for Evolution's table",
		Reason:  missing.Error() + " (where Evolution itself waits for this container, it never comes: there, set PATCH_ON_MISSING_TABLE=guard or continue)",
		Cause:   missing,
	}
}

// missing returns an error for a schema without the table, but none where a guard does all that is requested.
func (s *schema) missing(state plan.State) error {
	if state.Table != nil || !s.seen.named || !s.cfg.WaitsForTable() && state.Guards(plan.Select(s.cfg.Fixes, s.cfg.Goal(), state)) {
		return nil
	}
	return missingTable(s.cfg, state, "")
}

// missingTable returns the error for a schema without the table, and with why no guard can be installed, "" if none is wanted.
func missingTable(cfg *config.Config, s plan.State, noGuard string) *MissingError {
	return &MissingError{what: "table " + s.QualifiedTable(), schemas: s.ElsewhereNames(), noGuard: noGuard, again: cfg.Action == config.ActionApply && !cfg.WaitsForTable(), watched: cfg.Watches()}
}

// removeGuard drops what is left of a guard that has fired or was removed: its function and its schema. A session that
// creates an index may have read the event trigger before it was dropped, and be about to call the function. So while any
// other session of the database is in a transaction, this is left to a later run.
func (s *schema) removeGuard(ctx context.Context, state catalog.Inspection) {
	g := state.Guard
	if !s.cfg.MayChange() || g == nil || g.Trigger != nil || !g.Mine || g.Foreign(s.name) != "" || state.Standby || state.ForeignEventTrigger() != nil {
		return
	}
	b := s.conn.Begin("ISOLATION LEVEL READ COMMITTED READ WRITE", s.cfg.Limits())
	catalog.LockGuard(b, state.State)
	state.RequireGuardUnchanged(b)
	b.Require(catalog.NoOtherTransaction)
	for _, sql := range g.Remove(s.name) {
		b.Exec(sql)
	}
	b.Exec("COMMIT")
	if err := s.conn.Send(ctx, b, s.cfg.ConnectTimeout.Duration+2*s.cfg.LockTimeout.Duration); err != nil {
		s.log.Debug("what is left of the guard is left to a later run", "reason", explain(err))
		s.conn.RollBack(ctx, s.cfg.ConnectTimeout.Duration)
		return
	}
	s.log.Info("removed what was left of the guard", "schema_removed", plan.GuardName(s.name))
}
