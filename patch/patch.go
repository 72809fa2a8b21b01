// Package patch lets the instances of an Evolution API share one OpenAI API key, by removing what forbids it from the
// application's PostgreSQL database.
//
// The program is one straight line:
//
//	environment → Config → fleet → database (connect, wait) → schema (inspect → plan → apply) → Result → report
//
// The package says in which order things happen. Package config reads the environment, package catalog asks PostgreSQL what a schema is
// like, and package plan, which is pure, composes all DDL from the answers and from what is known of Evolution.
package patch

import (
	"cmp"
	"errors"
	"fmt"

	"evolution-openai-patch/patch/catalog"
	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
)

// Result is what became of one schema of one database. Nothing changes it once it is made.
type Result struct {
	place
	Target string // host:port/database
	plan.Assessment
	Changed   bool
	Unknown   bool     // whether it changed is not known, because COMMIT was not answered
	Evolution string   // the releases that the database can be of, "" if that is unknown
	SQL       []string // what a dry run would execute
	Err       error
	Notes     []note   // what the log says besides
	Warnings  []string // what will keep Evolution from starting

	stopped bool // a watch was stopped before the schema was done
}

// place is where a Result stands in the order of connection strings as given, then databases and schemas by name.
type place struct {
	source   int
	Database string
	Schema   string // "*" where the schemas could not be listed
}

// compare orders places.
func (a place) compare(b place) int {
	return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.Database, b.Database), cmp.Compare(a.Schema, b.Schema))
}

// sight is what was seen of a schema.
type sight struct {
	named      bool // the configuration names schema and database; false if a pattern matched either
	found      bool // a pattern matched the database
	fixes      []plan.Fix
	state      *catalog.Inspection // that was verified before the commit, or else found; nil if it could not be inspected
	assessment plan.Assessment     // zero if there was no plan
	sql        []string            // what a dry run would execute
	changed    bool
	left       []string // what a revert leaves, as the SQL that would put it back
	watches    []string // the sessions of a watch, after a revert
	unanswered bool     // a COMMIT was sent and not answered
}

// newResult returns the Result of a schema of which this was seen, and that an error ended, nil for none. It returns nil where there is
// nothing to be reported: a schema without the table that was only matched by a pattern.
func newResult(cfg *config.Config, target string, at place, seen sight, err error) *Result {
	var state plan.State
	if seen.state != nil {
		state = seen.state.State
	}
	r := &Result{
		place: at, Target: target, Assessment: seen.assessment, Changed: seen.changed, Unknown: seen.unanswered && !seen.changed,
		Evolution: plan.Release(state.Migrations.Last), SQL: seen.sql,
	}
	var missing *MissingError
	var stopped Interrupted
	watchStopped := errors.As(err, &stopped) && cfg.Watches()
	r.stopped = watchStopped
	switch {
	case errors.Is(err, errAbsent), errors.As(err, &missing) && seen.found, watchStopped && seen.found && seen.state == nil:
		return nil
	case missing != nil && !cfg.TableRequired():
		if r.Status == "" {
			r.Assessment = plan.EveryFix(seen.fixes, plan.Pending)
		}
		r.Status = plan.Pending
	case watchStopped && seen.state != nil: // what a watch knows is what it has seen
		r.Assessment = plan.Assess(plan.Request{Schema: at.Schema, Fixes: seen.fixes, KeepNames: bool(cfg.KeepNames)}, state)
	case err != nil:
		r.Status, r.Err = plan.Failed, err
		if r.Fixes == nil || r.Unknown { // otherwise they are what they were
			r.Fixes = plan.EveryFix(seen.fixes, plan.Failed).Fixes
		}
		var unknown *UnknownError
		if r.Unknown && !errors.As(err, &unknown) {
			r.Err = &UnknownError{err}
		}
	}
	r.Notes = notes(cfg, *r, seen, state, missing)
	if cfg.Action != config.ActionRevert {
		r.Warnings = plan.Warnings(state)
	}
	return r
}

// after returns the Result that takes the place of an earlier one of the same watch, with what has changed since its beginning. One that
// was stopped before anything was seen knows less than the one before.
func (r *Result) after(before *Result) *Result {
	if before == nil {
		return r
	}
	last := *r
	if r.stopped {
		last = *before
	}
	last.Changed = r.Changed || before.Changed
	last.Unknown = (r.Unknown || before.Unknown) && !last.Changed
	return &last
}

// endedBy returns the Result of a watch that was stopped. The error of one whose fixes are not in place wraps why.
func (r *Result) endedBy(cause error) *Result {
	if r.Err == nil || errors.Is(r.Err, cause) {
		return r
	}
	last := *r
	last.Err = fmt.Errorf("%s; %w", explain(r.Err), cause)
	return &last
}
