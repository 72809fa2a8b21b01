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
	"evolution-openai-patch/patch/catalog"
	"evolution-openai-patch/patch/plan"
)

// Result is what became of one schema of one database.
type Result struct {
	Target string // host:port/database
	Schema string // "*" where the schemas could not be listed
	plan.Assessment
	Changed   bool
	Unknown   bool     // whether it changed is not known, because COMMIT was not answered
	Evolution string   // the releases that the database can be of, "" if that is unknown
	SQL       []string // what a dry run would execute
	Err       error
	Notes     []note // what the log says besides

	requested []plan.Fix
	stopped   bool                // a watch was stopped before the schema was done
	state     *catalog.Inspection // what was verified before the commit, or else found; only until the Result is final
	place     place
}

// place is where a Result stands in the order of targets as given, then databases and schemas by name.
type place struct {
	target           int
	database, schema string
}

// known reports whether the schema could be inspected.
func (r Result) known() bool { return r.state != nil }
